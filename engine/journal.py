"""What a run says while it goes on: log lines in the original's format, a progress bar, `metrics.csv`."""

import csv
import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

from tqdm import tqdm

from engine.backends.base import log as backends_log
from engine.config import Config
from engine.log_file import Console, LogFile
from engine.schedule import Schedule
from engine.trainer import Epoch

LOGGER = "polytope_nn"
FORMAT = "%(asctime)s - %(name)s - %(levelname)s - %(message)s"
COLUMNS = ("epoch", "task", "kolmogorov", "validation", "polytopes", "seconds")
FLUSH_SECONDS = 1.0
EVERY_EPOCH = Schedule(1)

log = logging.getLogger(LOGGER)


@contextmanager
def logging_to(config: Config, leads: bool = True) -> Iterator[None]:
    """Sends the log to standard error and to `--log-file`; of a process that does not lead, its failure alone.

    Whatever logging the user has set up, both hear everything, and it is left as it was.
    Raises ConfigError where the file cannot be written.
    """
    handlers: list[logging.Handler] = []
    if sys.stderr is not None:  # it is None where the user closed it
        handlers.append(Console(sys.stderr))
        handlers[0].setLevel(logging.ERROR if not leads else logging.WARNING if config.quiet else logging.NOTSET)
    if config.log_file and leads:
        handlers.append(LogFile(config.log_file, log))
    before = log.level, log.propagate, log.disabled, backends_log.disabled
    log.setLevel(logging.DEBUG if config.debug else logging.INFO)
    log.propagate = log.disabled = backends_log.disabled = False
    for handler in handlers:
        handler.setFormatter(logging.Formatter(FORMAT))
        log.addHandler(handler)
    try:
        yield
    finally:
        for handler in handlers:
            log.removeHandler(handler)
            handler.close()
        log.setLevel(before[0])
        log.propagate, log.disabled, backends_log.disabled = before[1:]


def progress(config: Config, done: int) -> "tqdm[NoReturn]":
    """A bar over epochs on a terminal, nothing in a pipe."""
    hidden = config.quiet or sys.stderr is None or not sys.stderr.isatty()
    size: dict[str, Any] = {"dynamic_ncols": True}
    if not hidden and os.get_terminal_size(sys.stderr.fileno()).columns == 0:
        size = {"ncols": 80, "nrows": 24}  # a terminal that does not tell its size, as some that record a session
    return tqdm(total=config.epochs, initial=done, unit="epoch", disable=hidden, file=sys.stderr, **size)


def epoch_line(number: int, last: int, epoch: Epoch) -> str:
    """The line of one epoch, as people parse it."""
    return (
        f"Epoch {number}/{last} - Combined Loss: {epoch.combined:.6f} (Task: {epoch.task:.6f} + "
        f"λ·K: {epoch.weighted:.6f}), Val Loss: {epoch.validation:.6f}"
    )


class Metrics:
    """`metrics.csv`: a row an epoch, on disk whenever `flush` returns; `earlier` are the rows it goes on after."""

    def __init__(self, path: Path, keep: int = 0, schedule: Schedule = EVERY_EPOCH) -> None:
        """Begins the file, or goes on after its row of epoch `keep`.

        Later rows come again. A frame that a run drew only because it ended is none of the longer run's, so the last
        kept row loses its polytopes unless the schedule has a frame at its epoch.
        """
        rows: list[dict[str, str]] = []
        if keep and path.exists():
            with path.open(newline="", encoding="utf-8") as file:
                rows = [row for row in csv.DictReader(file) if _epoch_of(row) <= keep]
            if rows and _epoch_of(rows[-1]) == keep and keep not in schedule:
                rows[-1]["polytopes"] = ""
        part = path.with_name(f".{path.name}.tmp")
        with part.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore", restval="", lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        os.replace(part, path)
        self.earlier = rows
        self._file = path.open("a", newline="", encoding="utf-8")
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._flushed = time.monotonic()

    def add(self, number: int, epoch: Epoch, polytopes: int | None) -> None:
        """The row of an epoch; the losses with every digit a float32 has."""
        losses = (f"{value:.9g}" for value in (epoch.task, epoch.kolmogorov, epoch.validation))
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self._file.flush()
            self._flushed = time.monotonic()
        self._writer.writerow((number, *losses, "" if polytopes is None else polytopes, f"{epoch.seconds:.6f}"))

    def flush(self) -> None:
        """Makes sure that the rows are on disk. Raises OSError where they cannot be written."""
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            error.filename = self._file.name
            raise

    def close(self) -> None:
        """Flushes and closes the file."""
        try:
            self.flush()
        finally:
            with suppress(OSError):  # it tries to flush again
                self._file.close()


def _epoch_of(row: dict[str, str]) -> int:
    """A row's epoch; a row that a crash cut off counts as later than any."""
    text = row.get("epoch") or ""
    whole = text.isdigit() and row.get("seconds") not in (None, "")
    return int(text) if whole else sys.maxsize
