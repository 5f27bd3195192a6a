"""The losses of a task: how a network's outputs are scored, and what becomes of them before."""

from dataclasses import dataclass

from draw_poly.kernels.spec.activation import SLOPE

# Of outputs, on the command line; relu is leaky_relu with slope 0.
FINAL_ACTIVATIONS = ("relu", "sigmoid", "leaky_relu")


@dataclass(frozen=True)
class Loss:
    """How outputs are scored, made by `squared_error` or `cross_entropy`; a batch's loss is the mean over its points.

    `final` is the activation that outputs go through first: "leaky_relu", with its `slope`, or "sigmoid"; None for
    none. `labelled`: a point's target is one number, its class, and the outputs are logits of the classes; else the
    target is a number for each output, and the mean is over those as well. `factor` is what the derivative brings
    along.
    """

    name: str
    labelled: bool
    factor: float
    final: str | None = None
    slope: float = 1.0

    def targets(self, outputs: int) -> int:
        """How many numbers a point's target is, of so many outputs.

        As many ranges are known of a validation: of each output, or of the class that points are given.
        """
        return 1 if self.labelled else outputs


def squared_error() -> Loss:
    """(output - target)², of outputs as they are."""
    return Loss("squared_error", labelled=False, factor=2.0)


def cross_entropy(final: str = FINAL_ACTIVATIONS[0]) -> Loss:
    """-log of the target's share in the softmax of the outputs after their activation, one of `FINAL_ACTIVATIONS`.

    Raises ValueError for another.
    """
    if final not in FINAL_ACTIVATIONS:
        raise ValueError(f"no activation of outputs is called {final!r}: give one of {', '.join(FINAL_ACTIVATIONS)}")
    kind = "sigmoid" if final == "sigmoid" else "leaky_relu"
    return Loss("cross_entropy", labelled=True, factor=1.0, final=kind, slope=SLOPE if final == "leaky_relu" else 0.0)
