"""What every kernel means, in plain PyTorch: any floating dtype, any device, gradients written by hand.

The functions of the other packages take populations; those that they are made of take one network. The derivations are
in `kernels/README.md`.
"""

from draw_poly.kernels.reference.evaluate import evaluate, evaluate_grid, evaluate_one
from draw_poly.kernels.reference.gradient import differentiate, gradient, task_gradient, weigh
from draw_poly.kernels.reference.kolmogorov import TEMPERATURE, WINDOW, cross_entropy, kolmogorov_gradient
from draw_poly.kernels.reference.loss import classes_of, finished, span, squared_error, task_loss
from draw_poly.kernels.reference.network import Layer, Memory, Scalar, activate_, backward, forward, layers
from draw_poly.kernels.reference.regions import Cell, area_of, subdivide
from draw_poly.kernels.reference.update import step, total, update, update_one
from draw_poly.kernels.reference.validate import validate, validate_one
from draw_poly.kernels.reference.workspace import Workspace

__all__ = [
    "TEMPERATURE",
    "WINDOW",
    "Cell",
    "Layer",
    "Memory",
    "Scalar",
    "Workspace",
    "activate_",
    "area_of",
    "backward",
    "classes_of",
    "cross_entropy",
    "differentiate",
    "evaluate",
    "evaluate_grid",
    "evaluate_one",
    "finished",
    "forward",
    "gradient",
    "kolmogorov_gradient",
    "layers",
    "span",
    "squared_error",
    "step",
    "subdivide",
    "task_gradient",
    "task_loss",
    "total",
    "update",
    "update_one",
    "validate",
    "validate_one",
    "weigh",
]
