"""The networks: widths, activation, and where each layer's parameters lie."""

from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from operator import index

from draw_poly.kernels.spec.activation import Activation, leaky_relu
from draw_poly.kernels.spec.loss import Loss, squared_error

# Bits of a pixel's edges: its neighbour there has another signature.
RIGHT, BELOW = 1, 2


@dataclass(frozen=True)
class Network:
    """A network: `dims` are the widths from input to output, `(2, 10, …, 10, 1)`, and its outputs are scored by `loss`.

    The activation is that of hidden layers; outputs have none but what the loss makes of them. Its parameters are one
    flat vector: per layer the weight matrix row by row, then the bias. Raises ValueError for
    widths that are not whole numbers of at least 1.
    """

    dims: tuple[int, ...]
    activation: Activation = field(default_factory=leaky_relu)
    loss: Loss = field(default_factory=squared_error)

    def __post_init__(self) -> None:
        try:
            dims = tuple(map(index, self.dims))
        except TypeError:
            dims = ()
        if len(dims) < 2 or min(dims) < 1:
            raise ValueError(f"a network's widths were {self.dims}: give whole numbers of at least 1, input to output")
        object.__setattr__(self, "dims", dims)

    @property
    def slope(self) -> float:
        """The activation's factor below zero."""
        return self.activation.slope

    @property
    def targets(self) -> int:
        """How many numbers a point's target is: see `Loss.targets`."""
        return self.loss.targets(self.dims[-1])

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """(out, in) of each layer, input to output."""
        return [(after, before) for before, after in pairwise(self.dims)]

    @property
    def offsets(self) -> tuple[int, ...]:
        """Where each layer's parameters begin in the flat vector."""
        sizes = (out * (into + 1) for out, into in self.shapes[:-1])
        return tuple(accumulate(sizes, initial=0))

    @property
    def size(self) -> int:
        """Number of parameters."""
        return sum(out * (into + 1) for out, into in self.shapes)

    @property
    def neurons(self) -> int:
        """Number of hidden neurons: the length of an activation pattern."""
        return sum(self.dims[1:-1])
