"""The kernels in Numba, for the CPU. Compiled once for all networks; the code is kept on disk."""

from draw_poly.kernels.compiled import is_kept
from draw_poly.kernels.cpu.evaluate import Evaluator, evaluate, evaluate_grid
from draw_poly.kernels.cpu.painting import Painter
from draw_poly.kernels.cpu.partials import Partials, Training, gradient, total, update
from draw_poly.kernels.cpu.training import work


def compiles_first() -> bool:
    """Whether the first epoch on this machine has to wait for the compiler."""
    return not is_kept(work)


__all__ = [
    "Evaluator",
    "Painter",
    "Partials",
    "Training",
    "compiles_first",
    "evaluate",
    "evaluate_grid",
    "gradient",
    "total",
    "update",
]
