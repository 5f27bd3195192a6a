"""Members spread over workers: cut into pieces, given out, laid into their folders as they come back.

A piece is trained a stretch of epochs at a time, and what came of it is on this machine's disk before the next one: who
dies, worker, scheduler or this process, costs the stretch that was under way.
"""

import copy
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from draw_poly.engine.backends.base import Interrupted
from draw_poly.engine.config import Config, ConfigError
from draw_poly.engine.data import image_file
from draw_poly.engine.data.image import Picture
from draw_poly.engine.failure import explain
from draw_poly.engine.files import CHECKPOINT_EPOCH, Files, settings_of
from draw_poly.engine.record import disk
from draw_poly.engine.record.disk import write_whole
from draw_poly.engine.record.journal import log
from draw_poly.engine.sweep.cluster import Cluster, Worker
from draw_poly.engine.sweep.member import DONE, FAILED, RUNNING, WAITING, MemberRun, append
from draw_poly.engine.sweep.piece import Became, Part, Piece, Trained
from draw_poly.engine.sweep.train import TOGETHER, Seen
from draw_poly.engine.training.pace import Pace

# How often a piece is tried.
TRIES = 3
# Seconds of a stretch where no `--checkpoint-interval` says how long it is, and the share of all epochs in the first.
STRETCH, FIRST = 60.0, 100
# Seconds between two looks at who is there.
LOOK = 0.5


@dataclass
class Share:
    """Members that are trained by one worker at a time; `last` is who failed with them, `failures` how often."""

    runs: list[MemberRun]
    pace: Pace
    failures: int = 0
    last: str = ""

    @staticmethod
    def of(runs: Sequence[MemberRun]) -> "Share":
        """Of members who have not been tried."""
        most = max(one.config.epochs for one in runs)
        pace = Pace(most, STRETCH)
        pace.epochs = max(1, most // FIRST)
        return Share(list(runs), pace)

    @property
    def until(self) -> int:
        """The epoch at which its next stretch ends."""
        first = self.runs[0]
        interval = first.config.checkpoint_interval
        return (first.epoch // interval + 1) * interval if interval else first.epoch + self.pace.epochs

    def cut(self, count: int) -> list["Share"]:
        """So many of about the same size, or fewer where there are fewer members."""
        size, more = divmod(len(self.runs), count)
        sizes = [size + (index < more) for index in range(count)]
        starts = [sum(sizes[:index]) for index in range(count)]
        parts = [self.runs[start : start + size] for start, size in zip(starts, sizes, strict=True) if size]
        return [Share(part, copy.copy(self.pace), self.failures, self.last) for part in parts]

    def __str__(self) -> str:
        numbers = [one.number for one in self.runs]
        return f"member {numbers[0]}" if len(numbers) == 1 else f"{len(numbers)} members from {min(numbers)} on"


@dataclass(frozen=True)
class Flight:
    """A share at a worker."""

    share: Share
    worker: Worker
    epoch: int
    future: Any


@dataclass
class Spread:
    """A sweep's members and who trains them; `of` is a configuration's picture."""

    cluster: Cluster
    of: Callable[[Config], Picture]
    save_interval: int | str
    interrupted: Callable[[], bool]
    _waiting: deque[Share] = field(default_factory=deque)
    _flying: list[Flight] = field(default_factory=list)
    # By member: what it goes on from, what the sweep itself went on from, and what only bridges two stretches.
    _newest: dict[int, Path] = field(default_factory=dict)
    _source: dict[int, Path] = field(default_factory=dict)
    _bridge: dict[int, Path] = field(default_factory=dict)

    def train(self, groups: Iterable[Sequence[MemberRun]], resumed: bool) -> Iterator[Seen]:
        """Trains groups of one shape each, those first that come first. Raises Interrupted, Gone."""
        for group in groups:
            self._begin(group, resumed)
        lonely = False
        try:
            while self._waiting or self._flying:
                if self.interrupted():
                    raise Interrupted
                workers = self.cluster.workers()
                if not workers and not lonely:
                    log.warning("There is no worker: waiting for one")
                lonely = not workers
                for flight in [one for one in self._flying if one.worker.address not in workers]:
                    self.cluster.cancel([flight.future])
                    self._failed(flight, "the worker is gone")
                self._give(workers)
                for future in self.cluster.over([one.future for one in self._flying], LOOK):
                    yield from self._over(next(one for one in self._flying if one.future is future))
        finally:
            self.cluster.cancel([one.future for one in self._flying])

    def _begin(self, group: Sequence[MemberRun], resumed: bool) -> None:
        """Has members wait whose files are as they are to be gone on with."""
        begun: dict[int, list[MemberRun]] = {}
        for run in group:
            if self.interrupted():
                raise Interrupted
            try:
                found = Files.of(run.config).checkpoints() if resumed else {}
                if found:
                    run.begin(self.of(run.config), resumed)
                    run.prepared = None
                    self._newest[run.number] = self._source[run.number] = found[max(found)]
                else:
                    run.lay()
            except (ConfigError, OSError) as error:
                run.status, run.reason = FAILED, explain(error)
                log.error("Member %d cannot begin: %s", run.number, run.reason)
                continue
            run.status = WAITING if run.epoch < run.config.epochs else DONE
            if run.status == WAITING:
                begun.setdefault(run.epoch, []).append(run)
        self._waiting.extend(Share.of(runs) for runs in begun.values())

    def _give(self, workers: Mapping[str, Worker]) -> None:
        """Gives each worker that has nothing to do a share, cut so that there is one for each."""
        busy = {one.worker.address for one in self._flying}
        idle = [one for address, one in workers.items() if address not in busy]
        if not idle:
            return
        most = TOGETHER["cuda" if idle[0].has_gpu else "cpu"]
        self._waiting = deque(part for one in self._waiting for part in one.cut(-(-len(one.runs) // most)))
        if 0 < (there := len(self._waiting)) < len(idle):
            largest = max(self._waiting, key=lambda one: len(one.runs))
            self._waiting.remove(largest)
            self._waiting.extendleft(reversed(largest.cut(len(idle) - there + 1)))
        for worker in idle:
            # Whoever failed with a share is not to have it again while there are others.
            fits = (one for one in self._waiting if one.last != worker.address or len(workers) == 1)
            if share := next(fits, None):
                self._waiting.remove(share)
                self._send(share, worker)

    def _send(self, share: Share, worker: Worker) -> None:
        parts = []
        for run in share.runs:
            path, source = self._newest.get(run.number), self._source.get(run.number)
            try:
                there = (path.name, disk.read(path)) if path else None
            except OSError as error:
                run.status, run.reason = FAILED, explain(error)
                continue
            parts.append(Part(run.number, settings_of(run.config), there, str(source) if source else None))
            run.status = RUNNING
        share.runs = [one for one in share.runs if one.status == RUNNING]
        if not parts:
            return
        pictures = {image_file.asked(run.config): self.of(run.config) for run in share.runs}
        epoch = share.runs[0].epoch
        future = self.cluster.give(Piece(parts, pictures, share.until, self.save_interval), worker)
        self._flying.append(Flight(share, worker, epoch, future))

    def _over(self, flight: Flight) -> Iterator[Seen]:
        """Lays what came back of a share where it belongs, and has the rest of it wait for its next stretch."""
        try:
            result = self.cluster.result(flight.future)
        except Exception as error:  # whatever it was that the worker could not do
            self.cluster.cancel([flight.future])
            self._failed(flight, explain(error))
            return
        share = flight.share
        self._flying.remove(flight)
        self._lay(share, result)
        gone = [one for one in share.runs if one.status != RUNNING]
        share.runs = [one for one in share.runs if one.status == RUNNING]
        share.failures, share.last = 0, ""
        if share.runs:
            share.pace.note(share.runs[0].epoch - flight.epoch, result.seconds)
            self._waiting.appendleft(share)
        for look in result.looks:
            drawn = {number: torch.from_numpy(flat) for number, flat in look.drawn.items()}
            yield Seen(look.epoch, look.trained, gone if look is result.looks[-1] else [], drawn)

    def _lay(self, share: Share, result: Trained) -> None:
        became = {one.number: one for one in result.members}
        for run in share.runs:
            found = became[run.number]
            run.status, run.reason, run.epoch = found.status, found.reason, max(run.epoch, found.epoch)
            run.row, run.seconds = found.row or run.row, run.seconds + found.seconds
            try:
                self._write(run, found)
            except OSError as error:
                run.status, run.reason = FAILED, explain(error)

    def _write(self, run: MemberRun, found: Became) -> None:
        for name, text in found.added.items():
            append(run.folder / name, text)
        for name, content in found.files.items():
            path = run.folder / name
            is_checkpoint = CHECKPOINT_EPOCH.search(name) is not None
            write_whole(path, content, synced=is_checkpoint)
            if is_checkpoint:
                self._newest[run.number] = path
        if bridge := self._bridge.pop(run.number, None):
            disk.remove(bridge)
        if run.status == RUNNING and not run.config.checkpoint_interval:
            self._bridge[run.number] = self._newest[run.number]
        run.prune()

    def _failed(self, flight: Flight, reason: str) -> None:
        """Has a share wait for another try, or ends it."""
        share = flight.share
        self._flying.remove(flight)
        share.failures, share.last = share.failures + 1, flight.worker.address
        if share.failures < TRIES:
            log.warning(
                "%s failed with %s, try %d of %d: %s", flight.worker.address, share, share.failures, TRIES, reason
            )
            self._waiting.appendleft(share)
            return
        for run in share.runs:
            run.status, run.reason = FAILED, f"{TRIES} workers failed with it, {flight.worker.address} last: {reason}"
