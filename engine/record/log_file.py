"""Where log lines go: a console above its progress bar, a file that holds nothing but logs."""

import copy
import logging
import math
import os
import re
import select
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from time import localtime, monotonic, strftime
from typing import TextIO

from tqdm import tqdm

from draw_poly.engine.config import ConfigError
from draw_poly.engine.signals import asked_to_end

LOGGER = "polytope_nn"
FORMAT = "%(asctime)s - %(name)s - %(levelname)s - %(message)s"
# Seconds between two lines of epochs on a terminal.
SHOWN = 0.5

# A line of this program's log, or of the original's.
LINE = re.compile(rb"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} - polytope_\w+ - [A-Z]+ - ", re.MULTILINE)
# Bytes that a pipe takes at once when it says that it has room, and seconds that a run which is to end waits for that.
PIECE, PATIENCE = 4096, 1
# How far into a file such a line is looked for.
LOOKED_AT = 2**16


def say_plainly(log: logging.Logger) -> None:
    """Has a command's own lines appear as they are, where nobody listens to its logger yet."""
    if not log.hasHandlers():
        logging.basicConfig(level=logging.INFO, format="%(message)s")


class Named(logging.Formatter):
    """Lines as `FORMAT` has them; those of the run's logger and its children bear another name in its place."""

    def __init__(self, name: str) -> None:
        super().__init__(FORMAT)
        self._name = name

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`."""
        named = copy.copy(record)
        named.name = record.name.replace(LOGGER, self._name, 1)
        return super().format(named)


class InBulk(logging.StreamHandler[TextIO]):
    """A handler of lines that takes many at once."""

    def emit_lines(self, lines: Sequence[str], times: Sequence[float], last: bool) -> None:
        """Writes lines of these times of day, in seconds, as records of INFO are formatted; no others follow `last`."""
        self.acquire()
        try:
            self.write("".join(stamped(lines, times, logging.getLogger(LOGGER).name)))
        except Exception:
            self.handleError(logging.makeLogRecord({"msg": "%d lines", "args": (len(lines),)}))
        finally:
            self.release()

    def write(self, text: str) -> None:
        """Writes whole lines."""
        self.stream.write(text)
        self.flush()


def stamped(lines: Sequence[str], times: Sequence[float], name: str = LOGGER) -> Iterator[str]:
    """Lines of a logger as `FORMAT` has them, each with its end."""
    second, stamp = -1, ""
    for line, time in zip(lines, times, strict=True):
        if int(time) != second:
            second = int(time)
            stamp = strftime("%Y-%m-%d %H:%M:%S", localtime(second))
        yield f"{stamp},{int(time % 1 * 1000):03d} - {name} - INFO - {line}\n"


class Console(InBulk):
    """Writes above a progress bar where there is one, letters that the stream lacks as escapes.

    On a terminal, where nobody could read them, it leaves lines out of those that come at once. It waits for whoever
    reads a pipe, but not once the run is asked to end.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._terminal, self._shown = stream.isatty(), -math.inf
        self._room, self._left = _room(stream), False

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler.emit`."""
        try:
            self.write(self.format(record) + self.terminator)
        except Exception:
            self.handleError(record)

    def emit_lines(self, lines: Sequence[str], times: Sequence[float], last: bool) -> None:
        """See `InBulk.emit_lines`; on a terminal the latest one, if none was written just now."""
        if self._terminal:
            if monotonic() - self._shown < SHOWN and not last:
                return
            self._shown, lines, times = monotonic(), lines[-1:], times[-1:]
        super().emit_lines(lines, times, last)

    def write(self, text: str) -> None:
        """See `InBulk.write`."""
        encoding = getattr(self.stream, "encoding", None) or "utf-8"
        text = text.encode(encoding, "backslashreplace").decode(encoding)
        size = len(text) if self._room is None else PIECE if text.isascii() else PIECE // 4
        with tqdm.external_write_mode(file=self.stream):
            for start in range(0, len(text), max(1, size)):
                if not self._is_read():
                    return
                super().write(text[start : start + size])

    def _is_read(self) -> bool:
        """Waits until a pipe has room for a piece; whether it has."""
        while self._room and not self._left and not self._room.poll(1000 * PATIENCE):
            self._left = asked_to_end()
        return not self._left


def _room(stream: TextIO) -> "select.poll | None":
    """What tells whether a pipe has room; None for anything else, which takes what it is given."""
    with suppress(OSError, ValueError, AttributeError):  # no file, or none that the system knows
        if stat.S_ISFIFO(os.fstat(stream.fileno()).st_mode):
            found = select.poll()
            found.register(stream, select.POLLOUT)
            return found
    return None


class LogFile(logging.FileHandler, InBulk):
    """Appends to `--log-file`, whose folder it makes; gives up with one warning once the file cannot be written.

    Raises ConfigError where it cannot be written, or holds something that is no log.
    """

    def __init__(self, path: str, logger: logging.Logger) -> None:
        self._logger = logger
        try:
            if os.path.isfile(path) and os.path.getsize(path) and not _is_log(path):
                raise ConfigError(f"--log-file {path} is no log of this program: choose another name")
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            # Names of files may hold bytes that are no UTF-8.
            super().__init__(path, encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            raise ConfigError(f"--log-file {path} cannot be written ({error.strerror})") from error

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """See `logging.Handler.handleError`."""
        self._logger.removeHandler(self)
        self._logger.warning("--log-file %s cannot be written any more", self.baseFilename)

    def close(self) -> None:
        """Closes the file."""
        with suppress(OSError):
            super().close()


def _is_log(path: str) -> bool:
    with open(path, "rb") as file:
        return LINE.search(file.read(LOOKED_AT)) is not None
