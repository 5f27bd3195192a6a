"""Members of one shape trained to their ends: recorded, watched, and let go one by one."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

from draw_poly.engine.backends.base import Backend, Interrupted
from draw_poly.engine.config import Config
from draw_poly.engine.data.image import Picture
from draw_poly.engine.failure import explain
from draw_poly.engine.model.state import State
from draw_poly.engine.prepare import memory
from draw_poly.engine.schedule import Schedule
from draw_poly.engine.sweep.member import DONE, FAILED, STOPPED, MemberRun
from draw_poly.engine.sweep.population import Population
from draw_poly.engine.training.pace import Pace
from draw_poly.engine.training.setup import Setup
from draw_poly.engine.training.trainer import Epochs

Run = TypeVar("Run", bound=MemberRun)
# Members trained in one launch on a CPU, where more would gain nothing, and on a GPU, which more of them fill.
TOGETHER = {"cpu": 64, "cuda": 512}
# Seconds of a visit: there is more to do between two of many members.
VISIT = 0.5


@dataclass
class Seen:
    """What a visit came to: how many epochs of all members were trained, and the members that are over by now.

    `drawn` are parameters (P,) by member, of those who are over and, where the schedule has a frame at `epoch`, of all;
    views that the next visit but one writes over.
    """

    epoch: int
    trained: int
    gone: Sequence[MemberRun]
    drawn: Mapping[int, Tensor]


def shape_of(config: Config, picture: Picture) -> tuple[object, ...]:
    """What members have in common that are trained in the same launches."""
    term = config.kolmogorov_term
    validation = min(config.batch_size, picture.available - config.points)
    bins = term and (term.predictor.dims, term.loss, term.bins, term.low, term.high)
    kinds = tuple(one.form for one in config.optimizers)
    waits = config.rate_schedule.waits
    return (config.network, config.points, validation, config.batch_size, kinds, bins, config.precision, waits)


def together(config: Config, device: torch.device) -> int:
    """How many members are trained in one launch: as many as pay, and as fit."""
    on_device = torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else None
    most = TOGETHER[device.type]
    return min(most, memory.networks_that_fit(config, on_device) or most)


def by_shape(runs: Sequence[Run], of: Callable[[Config], Picture]) -> list[list[Run]]:
    """Members by what `shape_of` says of them; `of` is a configuration's picture."""
    found: dict[tuple[object, ...], list[Run]] = {}
    for run in runs:
        found.setdefault(shape_of(run.config, of(run.config)), []).append(run)
    return list(found.values())


def train(
    runs: Sequence[MemberRun],
    setups: Sequence[Setup],
    device: torch.device,
    kind: type[Backend],
    schedule: Schedule,
    interrupted: Callable[[], bool],
    until: int | None = None,
) -> Iterator[Seen]:
    """Trains members that have begun, all of one shape and at the same epoch, each to its end or `until` an epoch.

    A member that was killed at its last epoch, before it had ended, does so first.

    To be called in torch's inference mode. Yields each visit. Raises Interrupted; then, and at `until`, all that was
    trained is saved.
    """
    population, active = Population(setups, device, kind), list(runs)
    pace = Pace(population.most_epochs, VISIT)
    for run in active:
        run.variant = population.backend.variant
    if ended := [index for index, run in enumerate(active) if run.epoch >= run.config.epochs]:
        for index in ended:
            _left(active[index], population.state(index), None, population.backend)
        yield Seen(population.epoch, 0, [active[index] for index in ended], {})
        active = _without(population, active, ended)
    while active and population.epoch != until:
        started = time.perf_counter()
        epochs = _next(active, population.epoch, schedule, pace.epochs, until)
        try:
            found = population.visit(epochs, epochs, interrupted)
        except Interrupted:
            for index, run in enumerate(active):
                _guarded(run, partial(run.finish, population.state(index), population.backend, run.status))
            raise
        ends = [_recorded(run, one) for run, one in zip(active, found, strict=True)]
        # What the first epochs of this visit come to alone, of those who end within it.
        early = {
            index: population.again(index, count)
            for index, (count, reason) in enumerate(ends)
            if reason and count < epochs
        }
        population.keep()
        states = [early.get(index) or population.state(index) for index in range(len(active))]
        gone = []
        for index, (run, (_, reason)) in enumerate(zip(active, ends, strict=True)):
            if _left(run, states[index], reason, population.backend):
                gone.append(index)
            elif population.epoch == until:
                _guarded(run, partial(run.save, states[index]))
        shown = range(len(active)) if population.epoch in schedule else gone
        drawn = {active[index].number: states[index].main.parameters[0] for index in shown}
        yield Seen(population.epoch, sum(count for count, _ in ends), [active[index] for index in gone], drawn)
        pace.note(epochs, time.perf_counter() - started)
        if gone:
            active = _without(population, active, gone)


def _without(population: Population, active: Sequence[MemberRun], gone: Sequence[int]) -> list[MemberRun]:
    """Those who go on."""
    population.leave(gone)
    return [run for index, run in enumerate(active) if index not in gone]


def _next(active: Sequence[MemberRun], finished: int, schedule: Schedule, most: int, until: int | None) -> int:
    """How many epochs the next visit has: up to one at which something is made of some member's state."""
    ends = [schedule.following(finished)] + ([until] if until else [])
    ends += [run.config.saved_after(finished) for run in active]
    return min(most, min(ends) - finished)


def _recorded(run: MemberRun, epochs: Epochs) -> tuple[int, str | None]:
    """Watches and records a member's epochs; how many of them it keeps, and why it stops with the last one."""
    count, reason = run.watch.epochs(epochs)
    if count:
        _guarded(run, lambda: run.record(epochs.until(count)))
    return count, reason or run.halted


def _left(run: MemberRun, state: State, reason: str | None, backend: Backend) -> bool:
    """Whether a member is over: done, stopped or failed; saves what is to be saved of it."""
    if run.status == FAILED:
        return True
    if reason:
        _guarded(run, lambda: run.finish(state, backend, STOPPED, reason))
        return True
    if state.epoch >= run.config.epochs:
        _guarded(run, lambda: run.finish(state, backend, DONE))
        return True
    if run.config.is_saved_at(state.epoch):
        _guarded(run, lambda: run.save(state))
    return run.status == FAILED


def _guarded(run: MemberRun, deed: Callable[[], object]) -> None:
    """A member whose files cannot be written fails; the others go on."""
    try:
        deed()
    except OSError as error:
        run.status, run.reason = FAILED, explain(error)
