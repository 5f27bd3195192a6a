"""The whole program on a simulated device."""

from pathlib import Path

from tests.conftest import INTERPRETED, Program
from tests.simulated import Machine

pytestmark = INTERPRETED


def test_a_run_trains_draws_and_films(program: Program, cuda: Machine, tmp_path: Path) -> None:
    outcome = program(
        "--device", "auto", "--seed", 1, "-e", 6, "--save-interval", 2, "--checkpoint-interval", 3, "--debug"
    )
    assert outcome.status == 0, outcome.log
    assert "Backend: triton on cuda:0" in outcome.log
    assert "one replay of a CUDA graph from here on" in outcome.log
