"""What a kernel must know of a run besides its tensors: widths, activation, loss, code length settings, optimiser.

Every backend reads these records, so a fact such as the order of the parameters or the number of an optimiser's moments
stands here once. A new kind is an entry of `OPTIMIZERS` or `CODE_LOSSES`, or a function that makes an `Activation` or a
`Loss`, and its branch in each kernel.
"""

from draw_poly.kernels.spec.activation import ACTIVATIONS, LEAST_SLOPE, RELU2, SLOPE, Activation, activation, leaky_relu
from draw_poly.kernels.spec.kolmogorov import KOLMOGOROV_LOSSES, KolmogorovLoss, KolmogorovTerm
from draw_poly.kernels.spec.loss import FINAL_ACTIVATIONS, Loss, cross_entropy, squared_error
from draw_poly.kernels.spec.network import BELOW, RIGHT, Network
from draw_poly.kernels.spec.optimizer import (
    ADAM_BETAS,
    EPSILON,
    LION_BETAS,
    OPTIMIZERS,
    OPTIONS,
    RMSPROP_ALPHA,
    SCALARS,
    Optimizer,
    OptimizerKind,
)
from draw_poly.kernels.spec.rate import SCHEDULES, RateSchedule

__all__ = [
    "ACTIVATIONS",
    "ADAM_BETAS",
    "BELOW",
    "EPSILON",
    "FINAL_ACTIVATIONS",
    "KOLMOGOROV_LOSSES",
    "LEAST_SLOPE",
    "LION_BETAS",
    "OPTIMIZERS",
    "OPTIONS",
    "RELU2",
    "RIGHT",
    "RMSPROP_ALPHA",
    "SCALARS",
    "SCHEDULES",
    "SLOPE",
    "Activation",
    "KolmogorovLoss",
    "KolmogorovTerm",
    "Loss",
    "Network",
    "Optimizer",
    "OptimizerKind",
    "RateSchedule",
    "activation",
    "cross_entropy",
    "leaky_relu",
    "squared_error",
]
