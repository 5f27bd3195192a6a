"""A run of the suite: contenders built and checked once, groups measured in turns, what explains a figure."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from benches import contenders
from benches.contender import Contender
from benches.contenders import WrongAnswer
from benches.job import Job
from benches.method import SHORTEST_TURN, Limit, Timing, Variant, measure

TURNS, QUICK_TURNS = 15, 2
QUICK_SHORTEST = 0.002


class Absent(Exception):
    """A contender is not here; the text says what it needs."""


@dataclass(frozen=True)
class Group:
    """Contenders that do the same work, to be timed in turns.

    `make` gives a contender's variant, raising Absent or WrongAnswer. `flops` and `bytes` are what the work cannot do
    without; where it is other than arithmetic, `limit` is the variant that does the least there is to do. `info` is
    kept with the figures; `turns` is a share of a run's turns.
    """

    title: str
    job: Job
    names: tuple[str, ...]
    make: "Make"
    flops: float = 0.0
    bytes: float = 0.0
    limit: Callable[["Suite", Job], Variant] | None = None
    turns: float = 1.0
    quick: bool = True
    info: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Figure:
    """A contender's timing within its group, and the least the machine could take, in seconds."""

    timing: Timing
    limit: float
    info: dict[str, Any]


Make = Callable[["Suite", Job, str], Variant]
LIMIT = "limit"


class Suite:
    """Builds, checks and measures; keeps each contender and each group for the entries that come after."""

    def __init__(self, device: torch.device, quick: bool) -> None:
        self.device, self.quick = device, quick
        self.threads = torch.get_num_threads()
        self._limit = Limit(device)
        self._contenders: dict[tuple[Job, str], Contender | Exception] = {}
        self._checked: dict[tuple[Job, str], dict[str, float]] = {}  # what the checks found out
        self._groups: dict[str, dict[str, Figure | Exception]] = {}
        self.absent: dict[str, str] = {}
        self.resources = ExitStack()  # what groups open, closed at the end

    def contender(self, job: Job, name: str) -> Contender:
        """Built from the job's draws, and checked. Raises Absent or WrongAnswer, again where it did before."""
        key = (job, name)
        if key not in self._contenders:
            try:
                self._contenders[key] = self._built(job, name)
            except (Absent, WrongAnswer) as reason:
                self._contenders[key] = reason
        found = self._contenders[key]
        if isinstance(found, Exception):
            raise found
        return found

    def _built(self, job: Job, name: str) -> Contender:
        entry, placed = contenders.ENTRIES[name], replace(job, device=str(self.device))
        if reason := entry.absent(placed):
            raise Absent(reason)
        if self.quick and entry.compiled:
            raise Absent("left out of the quick mode: to compile it takes longer")
        try:
            made = entry.build(placed, self.threads)
            torch.set_num_threads(made.threads)
            on_gpu = self.device.type == "cuda"
            if on_gpu:
                torch.cuda.reset_peak_memory_stats(self.device)
            # The largest error of a loss, relative.
            self._checked[job, name] = {"loss_error": contenders.check(made)}
            if on_gpu:
                self._checked[job, name]["peak_device_bytes"] = torch.cuda.max_memory_allocated(self.device)
        finally:
            torch.set_num_threads(self.threads)
        return made

    def figure(self, group: Group, name: str) -> Figure:
        """A contender's figure; the first call for a group measures all of it. Raises Absent or WrongAnswer."""
        if self.quick and not group.quick:
            raise Absent("left out of the quick mode")
        if group.title not in self._groups:
            self._groups[group.title] = self._measured(group)
        found = self._groups[group.title][name]
        if isinstance(found, Exception):
            raise found
        return found

    def _measured(self, group: Group) -> dict[str, Figure | Exception]:
        found: dict[str, Figure | Exception] = {}
        variants: dict[str, Variant] = {}
        for name in group.names:
            try:
                variants[name] = group.make(self, group.job, name)
            except (Absent, WrongAnswer) as reason:
                found[name] = reason
                self.absent |= {name: str(reason)} if isinstance(reason, Absent) else {}
        own = {LIMIT: group.limit(self, group.job)} if group.limit else self._limit.variants()
        turns = max(1, round(QUICK_TURNS * group.turns)) if self.quick else max(2, round(TURNS * group.turns))
        timings = measure({**own, **variants}, turns, QUICK_SHORTEST if self.quick else SHORTEST_TURN)
        info: dict[str, Any] = dict(group.info)
        if group.limit:
            limit = timings[LIMIT].median
        else:
            rates = self._limit.rates(timings)
            limit = rates.least(group.flops, group.bytes)
            info |= {"GFLOP/s": rates.flops / 1e9, "GB/s": rates.bytes / 1e9}
        for name in variants:
            checked = self._checked.get((group.job, name), {})
            found[name] = Figure(timings[name], limit, info | checked | variants[name].notes)
        return found
