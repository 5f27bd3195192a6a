"""Sections one after the other within a time: each on its own, none that fails takes another with it."""

import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from benches.gpu import device as devices
from benches.gpu.ahead import Ahead
from benches.gpu.record import DONE, FAILED, GRACE, SKIPPED, Record
from benches.gpu.sections import Section

# A section may take so many times its estimate, and the grace, before it counts as hung.
PATIENCE = 3.0
# The exit status of a process that has lost its device: another one can go on.
LOST = 75


class Skip(Exception):
    """A section cannot run here; the text says what it needs."""


class Bench:
    """What a section has: the device, whether it is a rehearsal with small sizes, its time, and where its finds go."""

    def __init__(
        self, record: Record, name: str, device: torch.device, small: bool, until: float, python: Sequence[str]
    ) -> None:
        self._record, self._until = record, until
        self._entry = record.begin(name, until)
        self.device, self.small = device, small
        self.python = list(python)  # what starts a Python with this device

    @property
    def left(self) -> float:
        """Seconds until the section has to be over."""
        return self._until - time.time()

    def note(self, **found: Any) -> None:
        """Keeps what was found, at once."""
        self._entry["found"] |= found
        self._record.write()

    def wrong(self, sentence: str) -> None:
        """Keeps that something is not as it should be."""
        self._entry["wrong"].append(sentence)
        print(f"WRONG: {sentence}", flush=True)
        self._record.write()


@dataclass
class Course:
    """Runs sections in this process until `end`, in seconds since 1970."""

    record: Record
    device: torch.device
    small: bool
    end: float
    python: Sequence[str]

    def run(self, sections: Sequence[Section], ahead: Ahead) -> None:
        """Each in turn. Raises SystemExit with `LOST` where the device is not usable any more."""
        for section in sections:
            now = time.time()
            if not self._fits(section, now):
                left = max(0, round(self.end - now))
                reason = f"it takes about {section.estimate:.0f} s, and {left} s of the budget were left"
                self.record.end(section.name, SKIPPED, reason)
                print(f"{section.name}: skipped, {reason}", flush=True)
                continue
            self._run(section, ahead, now)
            if devices.lost(self.device):
                raise SystemExit(LOST)

    def _fits(self, section: Section, now: float) -> bool:
        """A rehearsal's sections take what they take."""
        return now < self.end if self.small else now + section.estimate <= self.end

    def _run(self, section: Section, ahead: Ahead, started: float) -> None:
        print(f"{section.name}: {section.title}", flush=True)
        until = self.end + GRACE
        if not self.small:
            until = min(until, started + GRACE + PATIENCE * section.estimate)
        bench = Bench(self.record, section.name, self.device, self.small, until, self.python)
        status, reason = DONE, None
        try:
            ahead.wait(section.name, everything=section.quiet, seconds=bench.left / 2)
            section.work(bench)
        except Skip as error:
            status, reason = SKIPPED, str(error)
        except Exception as error:
            status, reason = FAILED, f"{type(error).__name__}: {error}"
            bench.note(traceback=traceback.format_exc()[-4000:])
        self.record.end(section.name, status, reason, time.time() - started)
        said = f"{section.name}: {status} after {time.time() - started:.1f} s" + (f", {reason}" if reason else "")
        print(said[:500], flush=True)
