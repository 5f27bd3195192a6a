"""The kernels in Numba, for the CPU. Compiled once for all networks; the code is kept on disk."""

from draw_poly.kernels.cpu.draw import Rasterizer
from draw_poly.kernels.cpu.evaluate import Evaluator, evaluate, evaluate_grid
from draw_poly.kernels.cpu.regions import Regions, subdivide
from draw_poly.kernels.cpu.workspace import Training, Workspace, gradient, total, update

__all__ = [
    "Evaluator",
    "Rasterizer",
    "Regions",
    "Training",
    "Workspace",
    "evaluate",
    "evaluate_grid",
    "gradient",
    "subdivide",
    "total",
    "update",
]
