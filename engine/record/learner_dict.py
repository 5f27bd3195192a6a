"""A learner as a checkpoint holds it: its tensors by their names in the original, and a `torch.optim` state dict."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from draw_poly.engine.network import named_views
from draw_poly.engine.state import Learner
from draw_poly.kernels.spec import ADAM_BETAS, EPSILON, RMSPROP_ALPHA, Network, Optimizer

MOMENT_NAMES = {
    "adam": ("exp_avg", "exp_avg_sq"),
    "sgd": (),
    "sgd_momentum": ("momentum_buffer",),
    "rmsprop": ("square_avg",),
}


def parameter_dict(learner: Learner, names: list[str]) -> dict[str, Tensor]:
    """Copies of its parameters in host memory, by layers of these names."""
    views = named_views(learner.parameters, learner.network, names)
    return {name: view.detach().cpu().clone() for name, view in views.items()}


def optimizer_dict(learner: Learner, names: list[str]) -> dict[str, Any]:
    """A `torch.optim` state dict of flat moments."""
    optimizer = learner.optimizer
    kinds = MOMENT_NAMES[optimizer.kind]
    views = [list(named_views(row.detach().cpu(), learner.network, names).values()) for row in learner.moments]
    state: dict[int, dict[str, Tensor]] = {}
    if learner.steps and kinds:
        for index in range(2 * len(names)):
            state[index] = {} if optimizer.kind == "sgd_momentum" else {"step": torch.tensor(float(learner.steps))}
            state[index] |= {kind: view[index].clone() for kind, view in zip(kinds, views, strict=True)}
    group: dict[str, Any] = {"lr": optimizer.learning_rate, "weight_decay": 0, "maximize": False, "foreach": None}
    if optimizer.kind == "adam":
        group |= {"betas": ADAM_BETAS, "eps": EPSILON, "amsgrad": False, "capturable": False, "fused": None}
        group |= {"differentiable": False, "decoupled_weight_decay": False}
    elif optimizer.kind == "rmsprop":
        group |= {"momentum": 0, "alpha": RMSPROP_ALPHA, "eps": EPSILON, "centered": False}
        group |= {"capturable": False, "differentiable": False}
    else:
        momentum = optimizer.momentum if optimizer.kind == "sgd_momentum" else 0
        group |= {"momentum": momentum, "dampening": 0, "nesterov": False, "fused": None, "differentiable": False}
    return {"state": state, "param_groups": [{**group, "params": list(range(2 * len(names)))}]}


def learner_of(
    network: Network,
    optimizer: Optimizer,
    names: list[str],
    parameters: Mapping[str, Any],
    moments: Mapping[str, Any],
) -> Learner:
    """A learner from named tensors and a `torch.optim` state dict.

    Raises KeyError or ValueError where they are not of such a network.
    """
    learner = Learner.fresh(network, optimizer, torch.empty(network.size))
    views = named_views(learner.parameters, network, names)
    for name, view in views.items():
        _copy(view, parameters[name], name)
    stored = dict(moments["state"])
    if stored:
        rows = [list(named_views(row, network, names).values()) for row in learner.moments]
        for kind, row in zip(MOMENT_NAMES[optimizer.kind], rows, strict=True):
            for index, view in enumerate(row):
                _copy(view, stored[index][kind], f"{kind} of parameter {index}")
        learner.steps = int(stored[0].get("step", 1))
    return learner


def _copy(view: Tensor, value: Tensor, name: str) -> None:
    if value.shape != view.shape:
        raise ValueError(f"{name} has shape {tuple(value.shape)} in place of {tuple(view.shape)}")
    view.copy_(value)
