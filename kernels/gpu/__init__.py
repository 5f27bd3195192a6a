"""The kernels in Triton, for GPUs: the same functions as `kernels.cpu`, file by file."""

from draw_poly.kernels.gpu.evaluate import evaluate, evaluate_grid
from draw_poly.kernels.gpu.gradient import gradient
from draw_poly.kernels.gpu.update import total, update
from draw_poly.kernels.gpu.validate import Validation
from draw_poly.kernels.gpu.workspace import Workspace

__all__ = ["Validation", "Workspace", "evaluate", "evaluate_grid", "gradient", "total", "update"]
