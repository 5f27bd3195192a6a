"""Signals as requests: a run ends where it can be gone on with."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

# Seconds between two signals that a person sends who will not wait.
HASTE = 1.0

_catching: "list[Signals]" = []


class Abandoned(KeyboardInterrupt):
    """A run that was to end by a signal, `number`, was not let finish."""

    def __init__(self, number: int) -> None:
        super().__init__("ended at once by a third signal, before all was saved")
        self.number = number


class Signals:
    """The first SIGINT, SIGTERM or SIGHUP asks the run to finish; a second one changes nothing.

    A third one within a second of the second, or later ones in such haste, end it at once. A terminal that closes sends
    several SIGHUP, so these hurry nobody; where it is ignored from the start, as under `nohup`, it stays so.
    """

    def __init__(self) -> None:
        self.received = 0
        self._asked = 0
        self._last = 0.0

    def __call__(self, number: int, _: FrameType | None) -> None:
        """The handler."""
        self.received = self.received or number
        if number == signal.SIGHUP:
            return
        before, self._last = self._last, time.monotonic()
        self._asked += 1
        if self._asked > 2 and self._last - before < HASTE:
            raise Abandoned(self.received)

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Catches these signals; a thread that is not the main one may not, and does not."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
            numbers.append(signal.SIGHUP)
        before = {number: signal.signal(number, self) for number in numbers}
        _catching.append(self)
        try:
            yield
        finally:
            _catching.remove(self)
            for number, handler in before.items():
                signal.signal(number, handler)


def asked_to_end() -> bool:
    """Whether a signal was caught by which some run of this process is to end."""
    return any(one.received for one in _catching)


def interrupt_at_once(line: str) -> None:
    """From here on SIGINT ends this process with this line: a run has nothing to save before it catches signals itself.

    Without an exception, which libraries swallow that are being imported, and go on with half of themselves.
    """

    def end(number: int, _: FrameType | None) -> None:
        with suppress(OSError):
            os.write(2, line.encode())
        os._exit(128 + number)

    if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
        signal.signal(signal.SIGINT, end)
