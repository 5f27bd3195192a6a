"""What forks the program has all of it loaded: else each run would load it anew, and only take longer."""

import importlib

import pytest

from tests.processes import LOADED


@pytest.mark.parametrize("name", LOADED)
def test_what_is_loaded_ahead_is_there(name: str) -> None:
    assert importlib.import_module(name)
