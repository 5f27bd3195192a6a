"""A sweep from its first line to its last: members found, grouped, trained group after group, shown side by side."""

import dataclasses
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from draw_poly.engine import allowance
from draw_poly.engine.backends import select as backend
from draw_poly.engine.backends.base import Backend, Interrupted
from draw_poly.engine.code import range_coder
from draw_poly.engine.config import Config, ConfigError
from draw_poly.engine.data import image_file
from draw_poly.engine.data.image import Picture
from draw_poly.engine.failure import explain
from draw_poly.engine.flags import OFF
from draw_poly.engine.prepare.claim import Claim, Owned
from draw_poly.engine.prepare.rehearsal import rehearse
from draw_poly.engine.processes import ALONE
from draw_poly.engine.record.journal import log, logging_to, progress
from draw_poly.engine.schedule import Schedule
from draw_poly.engine.signals import Signals
from draw_poly.engine.sweep import vary
from draw_poly.engine.sweep.cluster import Cluster, Gone, reached
from draw_poly.engine.sweep.exhibition import Exhibition
from draw_poly.engine.sweep.member import DONE, FAILED, RUNNING, STOPPED, WAITING, MemberRun
from draw_poly.engine.sweep.options import Options
from draw_poly.engine.sweep.pictured import Pictured
from draw_poly.engine.sweep.spread import Spread
from draw_poly.engine.sweep.table import MembersTable
from draw_poly.engine.sweep.train import Seen, by_shape, together, train
from draw_poly.engine.training.torch_state import own_torch_state
from draw_poly.engine.view.beside import beside
from draw_poly.engine.view.options import require_bokeh
from draw_poly.kernels import compiled

COMPLETE, FAILURE = 0, 3
# Members with frames of their own that are trained at once: each holds canvases and has threads that write.
PICTURED = 8
# Sheets of a sweep that does not say how often.
SHEETS = 20
# Seconds between two lines of the log, and between two rewritings of the table.
TOLD, WRITTEN = 10.0, 5.0


def sweep(words: Mapping[str, Any], options: Options) -> int:
    """Trains a run for each member, as `vary.members` finds them in these words; returns the exit status.

    Raises ConfigError, before any work, for what cannot be done.
    """
    allowance.require_open_files()
    if reason := compiled.unusable():
        raise ConfigError(reason)
    if words.get("view"):
        require_bokeh()
    resumed = words.get("resume")
    asked = {name: value for name, value in words.items() if name != "resume"}
    members = vary.members(asked, options.vary or (), options.vary_from)
    if members[0].config.regions not in ("frames", "off"):
        raise ConfigError(
            f"--regions was {members[0].config.regions}, and members of a sweep keep no regions.csv: give frames or off"
        )
    if members[0].config.code != OFF:
        range_coder.require()
    interval = words.get("save_interval", max(1, max(one.config.epochs for one in members) // SHEETS))
    base = dataclasses.replace(members[0].config, save_interval=interval)
    with own_torch_state(), logging_to(base), reached(options.cluster) as cluster, Claim() as claim:
        log.info("=== Starting a sweep of %d members ===", len(members))
        folder = _folder(base, members, resumed, claim)
        with beside(base.view, folder.parent, folder.name):
            return Sweep(members, base, folder, resumed is not None, options.member_frames, cluster).run()


def _folder(config: Config, members: Sequence[vary.Member], resumed: Sequence[str] | None, claim: Claim) -> Path:
    """The sweep's own folder, claimed. Raises ConfigError where it is another's, or there is something in it."""
    folder = Path(config.output_dir) / f"sweep_{vary.identity(members)}"
    if resumed is not None and Path(resumed[0]).resolve() not in (folder.resolve(), folder.parent.resolve()):
        raise ConfigError(f"--resume {resumed[0]} is not {folder}, which is the sweep of these flags: give that folder")
    there = folder.exists() and any(folder.iterdir())
    if there and resumed is None and not config.overwrite:
        raise ConfigError(
            f"{folder} holds this very sweep: go on with --resume {folder}, or give --overwrite to train it anew"
        )
    if resumed is not None and not there:
        raise ConfigError(f"--resume {resumed[0]}: there is nothing of this sweep in {folder} to go on from")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        claim.take({folder / ".sweep.owner"}, {"sweep": folder.name})
    except Owned as owned:
        raise ConfigError(str(owned)) from owned
    return folder


class Sweep:
    """Members, those who train and those who wait, and what is shown of them."""

    def __init__(
        self, members: Sequence[vary.Member], base: Config, folder: Path, resumed: bool, pictured: bool,
        cluster: Cluster | None,
    ) -> None:  # fmt: skip
        self._members, self._base, self._folder, self._resumed = members, base, folder, resumed
        self._cluster = cluster
        self._signals = Signals()
        self._pictured = pictured
        kind = Pictured if pictured else MemberRun
        self._runs: list[MemberRun] = [
            kind.of(one.number, dataclasses.replace(one.config, save_interval=base.save_interval), folder / one.name)
            for one in members
        ]
        self._pictures: dict[image_file.Asked, Picture] = {}
        self._table = MembersTable(folder / "members.csv", members, self._runs)
        self._show = Exhibition(folder, members, self._picture(members[0].config), base)
        self._told = self._written = time.monotonic()
        self._schedule = Schedule(base.save_interval)

    def run(self) -> int:
        """Trains all; returns the exit status."""
        if self._resumed:
            self._table.read()
        waiting = [one for one in self._runs if one.status not in (DONE, STOPPED)]
        if not waiting:
            log.info("Nothing to do: every member has ended")
        for one in waiting:
            one.status = WAITING
        total = sum(one.config.epochs for one in self._runs)
        left = sum(one.config.epochs - one.epoch for one in waiting)
        self._bar = progress(dataclasses.replace(self._base, epochs=max(1, total)), total - left)
        status = COMPLETE
        with self._signals.caught(), torch.inference_mode():
            try:
                if self._cluster:
                    self._spread(self._cluster, waiting)
                else:
                    for group in self._groups(waiting):
                        self._train(group)
            except Gone as gone:
                log.error("%s: what came back by now is saved, and --resume goes on from it", gone)
                status = FAILURE
            except Interrupted:
                number = self._signals.received or signal.SIGTERM
                log.warning("Interrupted by %s: what was trained is saved", signal.Signals(number).name)
                status = 128 + number
            return max(status, self._finish())

    def _groups(self, runs: Sequence[MemberRun]) -> Iterator[list[MemberRun]]:
        """Members of one shape, who train in the same launches; the groups that take longest first."""

        def work(group: Sequence[MemberRun]) -> int:
            return sum(one.config.network.size * one.config.points * one.config.epochs for one in group)

        groups = sorted(by_shape(runs, self._picture), key=work, reverse=True)
        for number, group in enumerate(groups, 1):
            if len(groups) > 1:
                log.info("Group %d of %d: %d members of one shape", number, len(groups), len(group))
            yield group

    def _spread(self, cluster: Cluster, runs: Sequence[MemberRun]) -> None:
        """Has a cluster's workers train all."""
        spread = Spread(cluster, self._picture, self._base.save_interval, lambda: self._signals.received != 0)
        for seen in spread.train(self._groups(runs), self._resumed):
            self._look(seen)

    def _train(self, group: Sequence[MemberRun]) -> None:
        """Trains a group, as many at once as pay."""
        config = group[0].config
        device, kind, why = backend.found(config, ALONE)
        log.info("Backend: %s on %s (%s)", kind.name, device, why)
        if device.type == "cpu":
            torch.set_num_threads(backend.most_threads(config, ALONE))
        rehearse(kind, config, device)
        most = min(together(config, device), PICTURED if self._pictured else len(group))
        if len(group) > most:
            log.info("%d members of the group train at once", most)
        for first in range(0, len(group), most):
            self._train_together(group[first : first + most], device, kind)

    def _train_together(self, runs: Sequence[MemberRun], device: torch.device, kind: type[Backend]) -> None:
        """Trains members in the same launches; those who go on from another epoch by themselves."""
        begun: dict[int, list[tuple[MemberRun, Any]]] = {}
        for run in runs:
            if self._signals.received:
                raise Interrupted
            try:
                setup = run.begin(self._picture(run.config), self._resumed)
            except (ConfigError, OSError) as error:
                run.status, run.reason = FAILED, explain(error)
                log.error("Member %d cannot begin: %s", run.number, run.reason)
                continue
            begun.setdefault(run.epoch, []).append((run, setup))
        for pairs in begun.values():
            some, setups = zip(*pairs, strict=True)
            for seen in train(some, setups, device, kind, self._schedule, lambda: self._signals.received != 0):
                self._look(seen)

    def _look(self, seen: Seen) -> None:
        """After a visit: the bar, now and then a line, the table, a sheet."""
        self._bar.update(seen.trained)
        self._show.add(seen.epoch, seen.drawn)
        now = time.monotonic()
        if now - self._told > TOLD:
            self._told = now
            self._tell()
        if now - self._written > WRITTEN:
            self._table.write(self._show.polytopes)
            self._written = time.monotonic()

    def _tell(self) -> None:
        each = [one.status for one in self._runs]
        counts = {status: each.count(status) for status in (RUNNING, WAITING, DONE, STOPPED, FAILED)}
        losses = np.array([one.row["combined"] for one in self._runs if one.row])
        best = int(np.nanargmin(losses)) if losses.size and not np.isnan(losses).all() else None
        said = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
        if best is None:
            log.info("Members: %s", said)
            return
        number = [one.number for one in self._runs if one.row][best]
        log.info(
            "Members: %s - Combined Loss: best %.6f (member %d), median %.6f, worst %.6f", said, losses[best], number,
            np.nanmedian(losses), np.nanmax(losses),
        )  # fmt: skip
        self._bar.set_postfix_str(f"best {losses[best]:.6f}", refresh=False)

    def _finish(self) -> int:
        """Table, sheet, film and plots; returns the exit status of what became of all."""
        self._bar.close()
        self._tell()
        status = COMPLETE
        for run in self._runs:
            if run.status == FAILED:
                log.error("Member %d failed: %s", run.number, run.reason)
                status = FAILURE
        for what, deed in (
            ("the sheet", lambda: self._show.finish(self._runs)),
            ("members.csv", lambda: self._table.write(self._show.polytopes)),
            ("the plots", lambda: self._show.plot(self._runs)),
        ):
            try:
                deed()
            except Exception as error:
                log.error("While finishing %s: %s", what, explain(error), exc_info=error if self._base.debug else None)
                status = FAILURE
        if status == COMPLETE and all(one.status in (DONE, STOPPED) for one in self._runs):
            log.info("=== Sweep completed: %s ===", self._folder)
        return status

    def _picture(self, config: Config) -> Picture:
        wanted = image_file.asked(config)
        if wanted not in self._pictures:
            self._pictures[wanted] = image_file.load(*wanted)
        return self._pictures[wanted]
