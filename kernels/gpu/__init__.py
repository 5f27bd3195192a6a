"""The kernels in Triton, for GPUs: the same functions as `kernels.cpu`, file by file."""

from kernels.gpu.evaluate import evaluate, evaluate_grid
from kernels.gpu.mlp import gradient
from kernels.gpu.partials import Partials
from kernels.gpu.update import total, update
from kernels.gpu.validate import Validation

__all__ = ["Partials", "Validation", "evaluate", "evaluate_grid", "gradient", "total", "update"]
