"""Signals as requests: a run ends where it can be gone on with."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Signals:
    """The first SIGINT or SIGTERM asks the run to finish; a second one ends it at once."""

    def __init__(self) -> None:
        self.received = 0

    def __call__(self, number: int, _: FrameType | None) -> None:
        """The handler."""
        if self.received:
            raise KeyboardInterrupt
        self.received = number

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Catches both signals; a thread that is not the main one may not, and does not."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
