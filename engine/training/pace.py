"""How many epochs are one visit: by the clock, and by the memory that they take."""

# Seconds of a visit: the log stays alive, and a signal is heard within twice that.
VISIT = 0.05
# Bytes of a visit's orders, numbers and parameters.
MEMORY = 2**23


class Pace:
    """Learns from each visit how many epochs the next one may have: so many `seconds` of them, `most` at most."""

    def __init__(self, most: int, seconds: float | None = None) -> None:
        self._most, self._seconds = most, VISIT if seconds is None else seconds
        self.epochs = 1

    def note(self, epochs: int, seconds: float) -> None:
        """What a visit took. Never more than twice as many follow: the next ones may be slower."""
        fit = int(self._seconds * epochs / seconds) if seconds > 0 else self._most
        self.epochs = max(1, min(fit, 2 * epochs, self._most))


def most_epochs(numbers: int, memory: int = MEMORY) -> int:
    """How many epochs so many bytes allow, of so many numbers of four bytes each."""
    return max(1, memory // (4 * numbers))
