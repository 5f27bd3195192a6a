"""What a run says while it goes on: log lines in the original's format, a progress bar."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn, TextIO

from tqdm import tqdm

from engine.config import Config, ConfigError
from engine.trainer import Epoch

LOGGER = "polytope_nn"
FORMAT = "%(asctime)s - %(name)s - %(levelname)s - %(message)s"

log = logging.getLogger(LOGGER)


class _Console(logging.StreamHandler[TextIO]):
    """Writes above a progress bar where there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            with tqdm.external_write_mode(file=self.stream):
                self.stream.write(self.format(record) + self.terminator)
                self.flush()
        except Exception:
            self.handleError(record)


class _File(logging.FileHandler):
    """Gives up with one warning once its file cannot be written."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        log.removeHandler(self)
        log.warning("--log-file %s cannot be written any more", self.baseFilename)

    def close(self) -> None:
        with suppress(OSError):
            super().close()


@contextmanager
def logging_to(config: Config, leads: bool = True) -> Iterator[None]:
    """Sends the log to standard error and to `--log-file`; of a process that does not lead, its failure alone.

    Raises ConfigError where the file cannot be written.
    """
    handlers: list[logging.Handler] = []
    if sys.stderr is not None:  # it is None where the user closed it
        handlers.append(_Console(sys.stderr))
        handlers[0].setLevel(logging.ERROR if not leads else logging.WARNING if config.quiet else logging.NOTSET)
    if config.log_file and leads:
        try:
            handlers.append(_File(config.log_file, encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"--log-file {config.log_file} cannot be written ({error.strerror})") from error
    log.setLevel(logging.DEBUG if config.debug else logging.INFO)
    log.propagate = False
    for handler in handlers:
        handler.setFormatter(logging.Formatter(FORMAT))
        log.addHandler(handler)
    try:
        yield
    finally:
        for handler in handlers:
            log.removeHandler(handler)
            handler.close()


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
