"""Where log lines go: a console above its progress bar, a file that holds nothing but logs."""

import logging
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from tqdm import tqdm

from draw_poly.engine.config import ConfigError

# A line of this program's log, or of the original's.
LINE = re.compile(rb"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} - polytope_\w+ - [A-Z]+ - ", re.MULTILINE)
# How far into a file such a line is looked for.
LOOKED_AT = 2**16


class Console(logging.StreamHandler[TextIO]):
    """Writes above a progress bar where there is one, letters that the stream lacks as escapes."""

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler.emit`."""
        try:
            encoding = getattr(self.stream, "encoding", None) or "utf-8"
            text = self.format(record).encode(encoding, "backslashreplace").decode(encoding)
            with tqdm.external_write_mode(file=self.stream):
                self.stream.write(text + self.terminator)
                self.flush()
        except Exception:
            self.handleError(record)


class LogFile(logging.FileHandler):
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
