"""The rules are asked of a real device too, where `pytest --gpu` runs them."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext

import pytest
import torch

from tests.simulated import Machine

Expecting = Callable[[str], AbstractContextManager[None]]


@pytest.fixture(params=["simulated", pytest.param("real", marks=pytest.mark.gpu)])
def expecting(request: pytest.FixtureRequest) -> Iterator[Expecting]:
    """What a simulated device is to note meanwhile; a real one notes nothing."""
    if request.param == "simulated":
        machine: Machine = request.getfixturevalue("cuda")
        yield machine.expecting
    else:
        torch.cuda.synchronize()
        yield lambda words: nullcontext()
        torch.cuda.set_stream(torch.cuda.default_stream())
