"""How figures measured in turns reach pytest-benchmark, which itself times one test after another.

A group is timed by `benches.method`; each of its tests then sets a clock forward by its own rounds, one at a call, and
that clock is what pytest-benchmark reads. So its table, JSON and options are as ever.
"""

from collections.abc import Sequence
from typing import Any

import pytest

from benches.suite import Group


class Playback:
    """A clock that stands still until it is set forward."""

    def __init__(self) -> None:
        self._now = 0.0

    def now(self) -> float:
        """The time in seconds."""
        return self._now

    def pass_by(self, seconds: float) -> None:
        """Sets it forward."""
        self._now += seconds


CLOCK = Playback()


def entries(groups: Sequence[Group]) -> list[Any]:
    """A parameter set (group, name) for each contender of each group."""
    mark = pytest.mark.benchmark(timer=CLOCK.now)
    return [
        pytest.param(group, name, id=f"{group.title}: {name}", marks=mark) for group in groups for name in group.names
    ]
