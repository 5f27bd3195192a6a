"""The kernels in Numba, for the CPU. Compiled once for all networks; the code is kept on disk."""

from kernels.cpu.evaluate import Evaluator, evaluate, evaluate_grid
from kernels.cpu.partials import Partials, gradient, total, train, update

__all__ = ["Evaluator", "Partials", "evaluate", "evaluate_grid", "gradient", "total", "train", "update"]
