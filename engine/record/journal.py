"""What a run says while it goes on: log lines in the original's format, a progress bar."""

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

from tqdm import tqdm

from draw_poly.engine.backends.base import log as backends_log
from draw_poly.engine.config import Config
from draw_poly.engine.record.log_file import LOGGER, Console, InBulk, LogFile, Named

log = logging.getLogger(LOGGER)


def log_lines(lines: Sequence[str], times: Sequence[float], last: bool) -> None:
    """Logs lines as `log.info` would have at these times of day, in seconds; `last` are those that no others follow.

    The run's own handlers take them at once; whatever else is subscribed gets a record of each.
    """
    if not log.isEnabledFor(logging.INFO):
        return
    own, others = list[InBulk](), list[logging.Handler]()
    for handler in log.handlers:
        if handler.level <= logging.INFO:
            own.append(handler) if isinstance(handler, InBulk) and not handler.filters else others.append(handler)
    if log.filters:
        own, others = [], list(log.handlers)
    for handler in own:
        handler.emit_lines(lines, times, last)
    for line, time in zip(lines, times, strict=True) if others else ():
        record = log.makeRecord(log.name, logging.INFO, __file__, 0, line, (), None, "log_lines")
        record.created, record.msecs = time, time % 1 * 1000
        if log.filter(record):
            for handler in others:
                if record.levelno >= handler.level:
                    handler.handle(record)


@contextmanager
def logging_to(config: Config, is_main: bool = True) -> Iterator[None]:
    """Sends the log to standard error and to `--log-file`; of a process that does not lead, its failure alone.

    Whatever logging the user has set up, both hear everything, and it is left as it was. Lines bear the name of the
    task's logger, and who listens to that hears them too. Raises ConfigError where the file cannot be written.
    """
    handlers: list[logging.Handler] = []
    if sys.stderr is not None:  # it is None where the user closed it
        handlers.append(Console(sys.stderr))
        handlers[0].setLevel(logging.ERROR if not is_main else logging.WARNING if config.quiet else logging.NOTSET)
    if config.log_file and is_main:
        handlers.append(LogFile(config.log_file, log))
    before = log.level, log.propagate, log.disabled, backends_log.disabled
    name = config.learnt.logger
    listeners = [one for one in logging.getLogger(name).handlers if one not in log.handlers]
    log.setLevel(logging.DEBUG if config.debug else logging.INFO)
    log.propagate = log.disabled = backends_log.disabled = False
    for handler in handlers:
        handler.setFormatter(Named(config.learnt.logger))
        log.addHandler(handler)
    for handler in listeners:
        log.addHandler(handler)
    log.name = name
    try:
        yield
    finally:
        log.name = LOGGER
        for handler in listeners:
            log.removeHandler(handler)
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
