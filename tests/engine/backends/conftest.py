"""One process's run, which that of several is compared with."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Program
from tests.engine.backends.groups import words_for


@pytest.fixture
def alone(program: Program) -> Callable[..., str]:
    """The log of a run of one process, this one."""

    def run(image: Path, place: Path, *words: object) -> str:
        outcome = program(*words_for(image, place, *words)[1:])
        assert outcome.status == 0, outcome.log
        return outcome.log

    return run
