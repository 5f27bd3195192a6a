"""How many epochs are one visit: by the clock, and by the memory that they take."""

# Seconds of a visit: the log stays alive, and a signal is heard within twice that.
VISIT = 0.05
# Bytes of a visit's orders, numbers and parameters.
MEMORY = 2**23


class Pace:
    """Learns from each visit how many epochs the next one may have, `most` of them at most."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.epochs = 1

    def note(self, epochs: int, seconds: float) -> None:
        """What a visit took. Never more than twice as many follow: the next ones may be slower."""
        fit = int(VISIT * epochs / seconds) if seconds > 0 else self._most
        self.epochs = max(1, min(fit, 2 * epochs, self._most))


def most_epochs(numbers: int) -> int:
    """How many epochs memory allows, of so many numbers of four bytes each."""
    return max(1, MEMORY // (4 * numbers))
