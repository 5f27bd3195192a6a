"""A learner of one network as a checkpoint holds it: tensors by their names, and a `torch.optim` state dict."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from draw_poly.engine.model.initialisation import named_views
from draw_poly.engine.model.state import Learner
from draw_poly.kernels.spec import Network, Optimizer


def parameter_dict(learner: Learner, names: list[str]) -> dict[str, Tensor]:
    """Copies of its parameters in host memory, by layers of these names."""
    views = named_views(learner.parameters[0], learner.network, names)
    return {name: view.detach().cpu().clone() for name, view in views.items()}


def optimizer_dict(learner: Learner, names: list[str]) -> dict[str, Any]:
    """A `torch.optim` state dict of flat moments."""
    record, kinds = learner.optimizer.record, learner.optimizer.moment_names
    views = [list(named_views(row.detach().cpu(), learner.network, names).values()) for row in learner.moments[0]]
    indices = list(range(2 * len(names)))
    state: dict[int, dict[str, Tensor]] = {}
    if learner.steps and kinds:
        for index in indices:
            state[index] = {name: torch.tensor(count(learner.steps)) for name, count in record.counters.items()}
            state[index] |= {name: view[index].clone() for name, view in zip(kinds, views, strict=True)}
    return {"state": state, "param_groups": [{**learner.optimizer.group, "params": indices}]}


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
    learner = Learner.fresh(network, optimizer, torch.empty((1, network.size)))
    views = named_views(learner.parameters[0], network, names)
    for name, view in views.items():
        _copy(view, parameters[name], name)
    stored = dict(moments["state"])
    if stored:
        rows = [list(named_views(row, network, names).values()) for row in learner.moments[0]]
        for kind, row in zip(optimizer.moment_names, rows, strict=True):
            for index, view in enumerate(row):
                _copy(view, stored[index][kind], f"{kind} of parameter {index}")
        learner.steps = int(stored[0].get("step", 1))
    return learner


def _copy(view: Tensor, value: Tensor, name: str) -> None:
    if value.shape != view.shape:
        raise ValueError(f"{name} has shape {tuple(value.shape)} in place of {tuple(view.shape)}")
    view.copy_(value)
