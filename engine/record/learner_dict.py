"""A learner of one network as a checkpoint holds it: tensors by their names, and a `torch.optim` state dict."""

from collections.abc import Mapping
from dataclasses import replace
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


def _parts(optimizer: Optimizer, count: int) -> dict[str, tuple[Optimizer, list[int]]]:
    """The optimisers of `torch.optim` that one is, by kind, and the tensors that each takes of so many layers."""
    if optimizer.rest is None:
        return {optimizer.kind: (optimizer, list(range(2 * count)))}
    matrices, rest = (list(range(first, 2 * count, 2)) for first in (0, 1))
    return {optimizer.kind: (optimizer, matrices), optimizer.rest.kind: (optimizer.rest, rest)}


def _part_of(stored: Mapping[str, Any], kind: str, parts: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = stored[kind] if len(parts) > 1 else stored
    return found


def options_of(optimizer: Optimizer, stored: Mapping[str, Any]) -> Optimizer:
    """An optimiser with the options that its state dicts hold. Raises KeyError where they are another's."""
    parts = _parts(optimizer, 0)
    found = optimizer
    for kind in parts:
        found = replace(found, kind=kind).from_group(_part_of(stored, kind, parts)["param_groups"][0])
    return replace(found, kind=optimizer.kind)


def optimizer_dict(learner: Learner, names: list[str]) -> dict[str, Any]:
    """A `torch.optim` state dict of flat moments; by kind, where matrices have an optimiser of their own."""
    parts = _parts(learner.optimizer, len(names))
    found = {kind: _one_dict(learner, names, *part) for kind, part in parts.items()}
    return found if len(parts) > 1 else found[learner.optimizer.kind]


def _one_dict(learner: Learner, names: list[str], optimizer: Optimizer, tensors: list[int]) -> dict[str, Any]:
    record, kinds = optimizer.record, optimizer.moment_names
    views = [list(named_views(row.detach().cpu(), learner.network, names).values()) for row in learner.moments[0]]
    state: dict[int, dict[str, Tensor]] = {}
    if learner.steps and kinds:
        for index, place in enumerate(tensors):
            state[index] = {name: torch.tensor(count(learner.steps)) for name, count in record.counters.items()}
            state[index] |= {name: view[place].clone() for name, view in zip(kinds, views, strict=False)}
    return {"state": state, "param_groups": [{**optimizer.group, "params": list(range(len(tensors)))}]}


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
    rows = [list(named_views(row, network, names).values()) for row in learner.moments[0]]
    parts = _parts(optimizer, len(names))
    for kind, (one, tensors) in parts.items():
        stored = dict(_part_of(moments, kind, parts)["state"])
        if not stored:
            continue
        for name, row in zip(one.moment_names, rows, strict=False):
            for index, place in enumerate(tensors):
                _copy(row[place], stored[index][name], f"{name} of parameter {place}")
        learner.steps = int(stored[0].get("step", 1))
    return learner


def _copy(view: Tensor, value: Tensor, name: str) -> None:
    if value.shape != view.shape:
        raise ValueError(f"{name} has shape {tuple(value.shape)} in place of {tuple(view.shape)}")
    view.copy_(value)
