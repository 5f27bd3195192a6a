"""How the kernels cut a network's work into programs: every constant of a launch, in one place."""

from typing import NamedTuple

from draw_poly.kernels.spec import Network
from draw_poly.kernels.support import gpu_limit, interpreted

# tl.dot wants 16 on each side.
NARROWEST = 16
# Layers whose activations stay in registers; past it they go to a scratch in the L2 cache, and compilation stays short.
MOST_UNROLLED = 10
# Of an H100 or H200; a guess elsewhere, that costs speed alone.
MULTIPROCESSORS = 132
# Points of a program's tile where points are too few for all processors: one to a thread of a warp.
FEWEST = 32
# Past four programs to each of them, a program takes several tiles.
MOST_PROGRAMS = 4 * MULTIPROCESSORS
# Bytes of scratch for activations: half of the smallest supported L2 cache, an A100's 40 MB.
SCRATCH = 20 * 2**20
# Most bins that a program of the Kolmogorov term takes at once: of predictors of narrow layers, and of wider ones.
TERM_BINS, TERM_BINS_WIDE = 256, 64
# Software pipelining of loops. Also where a program has one tile, a gradient takes a fifth less with it than without.
STAGES = 3
# Of evaluations, which have nothing to fetch ahead.
EVALUATION_STAGES = 1
# A step's launches begin while the one before ends, which saves a seventh, where the device can: from here on.
DEPENDENT_FROM = (9, 0)


class Plan(NamedTuple):
    """Compile-time constants of one network's kernels; a kernel is compiled once for each."""

    dims: tuple[int, ...]
    offsets: tuple[int, ...]  # of each layer's parameters in the flat vector
    activation: str
    slope: float  # of the activation
    loss: str
    final: str | None  # activation of the outputs before the loss, and its slope
    final_slope: float
    width: int  # of every layer, padded to a power of two
    tile: int  # points a program takes at once
    unrolled: bool  # activations in registers, or by a run-time loop through scratch
    precision: str  # of tl.dot
    equal: bool  # all hidden layers of one width


class Launch(NamedTuple):
    """A plan's other half: what the host passes at a launch."""

    programs: int
    warps: int
    scratch: int  # float32 numbers a program keeps there
    stages: int = STAGES
    dependent: bool = False  # programmatic dependent launch

    @property
    def options(self) -> dict[str, int | bool]:
        """What Triton is told of a launch beside its warps; NVIDIA's compiler alone knows dependent ones."""
        return {"num_stages": self.stages} | ({"launch_pdl": True} if self.dependent else {})


def plan(
    network: Network, dims: tuple[int, ...], points: int, tile: int, precision: str, unrolled: bool | None = None
) -> tuple[Plan, Launch]:
    """How to take `points` through forward and backward, `tile` at once; `dims` are those that a tile has to hold."""
    width = padded(max(dims))
    if unrolled is None:
        unrolled = width == NARROWEST and len(network.shapes) <= MOST_UNROLLED
    kept = 0 if unrolled else (len(network.shapes) - 1) * width * tile
    programs = min(-(-points // tile), MOST_PROGRAMS, max(1, SCRATCH // (4 * kept)) if kept else MOST_PROGRAMS)
    dot = {"fp32": "ieee", "tf32": "tf32"}[precision]
    constants = _plan(network, width, tile, unrolled, dot)
    return constants, Launch(programs, 4 if width <= 32 else 8, kept)


def batch_tile(network: Network, points: int) -> int:
    """Points of a batch that a program takes at once.

    The fewest that tl.dot takes while each program has a multiprocessor of its own, and in wide layers, whose
    registers allow no more; else twice as many, for twice the work to each load of a weight.
    """
    few = points <= NARROWEST * MULTIPROCESSORS or padded(max(network.dims)) > 32
    return _stretched(NARROWEST if few else 2 * NARROWEST)


def term_bins(width: int, bins: int) -> int:
    """Bins that a program of the Kolmogorov term takes at once, where the predictor's layers are padded to `width`."""
    return min(TERM_BINS if width == NARROWEST else TERM_BINS_WIDE, padded(bins))


def term_tile() -> int:
    """Parameters that a program of the Kolmogorov term takes at once."""
    return _stretched(NARROWEST)


def evaluation_plan(network: Network, rim: bool, points: int) -> tuple[Plan, int]:
    """How to take points through forward alone, and with how many warps; never in tf32, which moves boundaries.

    `unrolled` means neuron by neuron here; as equal layers take a loop, it asks for no few of them. With a rim, a tile
    is a square of at least 8 x 8 pixels, which spills where layers are wider than 32. Raises ValueError for a network
    past the limits.
    """
    if limit := gpu_limit(network, None):
        raise ValueError(limit)
    width = padded(max(network.dims))
    narrow = width == NARROWEST and (_equal(network) or len(network.shapes) <= MOST_UNROLLED)
    if narrow:  # points share the loads of weights: as many to a thread as its registers hold
        tile, warps = 512 if max(network.dims) <= 10 else 256, 4
        while tile > FEWEST and not rim and -(-points // tile) < MULTIPROCESSORS:
            tile, warps = tile // 2, max(1, min(warps, tile // 64))  # few points: as many processors as there are
    elif width <= 32 or rim:
        tile, warps = 64, 8 if width <= 32 else 16
    else:
        tile, warps = 16, 8
    tile = _stretched(tile)
    return _plan(network, width, tile, narrow, "ieee"), warps


def _plan(network: Network, width: int, tile: int, unrolled: bool, dot: str) -> Plan:
    activation, loss = network.activation, network.loss
    return Plan(
        network.dims, network.offsets, activation.name, activation.slope, loss.name, loss.final, loss.slope, width,
        tile, unrolled, dot, _equal(network),
    )  # fmt: skip


def _stretched(tile: int) -> int:
    """The interpreter's price is of operations, whatever their size: larger tiles, fewer of them."""
    return 8 * tile if interpreted() else tile


def _equal(network: Network) -> bool:
    return len(set(network.dims[1:-1])) == 1


def padded(width: int) -> int:
    """The power of two that a layer of this width is padded to."""
    return max(NARROWEST, 1 << (width - 1).bit_length())
