"""The original's printed losses, to the tolerance that its own figures were given with."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import GOLDEN, INTERPRETED, Program, rows

EPOCH = re.compile(r"Epoch (\d+)/\d+ - Combined Loss: (\S+) \(Task: (\S+) \+ λ·K: (\S+)\), Val Loss: (\S+)")
NAMES = ("combined", "task", "weighted_kolmogorov", "val")
# Rounding grows with training; a wrong draw or formula is off by far more.
RELATIVE, SIX_DECIMALS = 2e-4, 1.5e-6
CASES = {path.stem: json.loads(path.read_text()) for path in sorted(GOLDEN.glob("*.json"))}
PLANS = [(name, False) for name in CASES] + [(name, True) for name, case in CASES.items() if case["first_args"]]
# Compilation takes seconds a case: one plain, one with the term, one optimiser of each arithmetic.
COMPILED = ["adam", "kolmogorov_ce", "momentum", "rmsprop", "classes_adam", "classes_leaky_kolmogorov"]
COMPILED += ["classes_sigmoid_momentum"]
MISCLASSIFIED = re.compile(
    r"polytope_classifier - INFO - Visualization @ epoch (\d+): .*s - Misclassified: (\d+)/(\d+)"
)


def losses(log: str) -> dict[int, tuple[float, ...]]:
    return {int(row[0]): tuple(map(float, row[1:])) for row in EPOCH.findall(log)}


def words_of(words: list[str], checkpoint: Path | None) -> list[str]:
    """A case's arguments, after the original's defaults in place of the fixture's small ones."""
    named = [str(GOLDEN / "images" / word) if word.endswith(".png") else word for word in words]
    return ["-p", "5000", "-b", "1024", *(str(checkpoint) if word == "CHECKPOINT" else word for word in named)]


def assert_parity(
    program: Program,
    tmp_path: Path,
    case: dict[str, Any],
    original: bool,
    backend: str,
    epochs: int | None = None,
    device: str = "cpu",
) -> None:
    rest: list[object] = ["--save-interval", 100000, "--backend", backend, "--device", device]
    got: dict[int, tuple[float, ...]] = {}
    expected = {row["epoch"]: [row[name] for name in NAMES] for row in case["epochs"]}
    checkpoint = None
    if epochs:
        rest += ["-e", epochs]
        expected = {epoch: row for epoch, row in expected.items() if epoch <= epochs}
    if case["first_args"]:
        half = int(case["first_args"][case["first_args"].index("-e") + 1])
        if original:
            checkpoint = GOLDEN / "original_adam_epoch_000009.pt"
            expected = {epoch: row for epoch, row in expected.items() if epoch > half}
        else:
            first = program(*words_of(case["first_args"], None), *rest)
            assert first.status == 0, first.log
            got = losses(first.log)
            checkpoint = max((tmp_path / "out" / "results").glob("checkpoint_*.pt"))
    outcome = program(*words_of(case["args"], checkpoint), *rest)
    assert outcome.status == 0, outcome.log
    got |= losses(outcome.log)
    seen = {int(row[0]): (int(row[1]), int(row[2])) for row in MISCLASSIFIED.findall(outcome.log)}
    for row in case.get("misclassified", ()):
        if row["epoch"] in expected:  # a point on the boundary of two classes may fall to either
            missed, points = seen[row["epoch"]]
            assert points == row["points"]
            assert abs(missed - row["misclassified"]) <= 1
    for epoch, row in expected.items():
        for name, ours, theirs in zip(NAMES, got[epoch], row, strict=True):
            difference = abs(ours - theirs) - SIX_DECIMALS
            assert difference <= RELATIVE * max(abs(theirs), 1e-3), (
                f"epoch {epoch} {name}: {ours}, the original {theirs}"
            )


# By the reference, which takes longer, every second one in the default run.
@pytest.mark.parametrize(
    ("name", "original", "backend"),
    rows(
        [(*plan, backend) for plan in PLANS for backend in ("cpu", "eager")],
        quick=[*((*plan, "cpu") for plan in PLANS), *((*plan, "eager") for plan in PLANS[::2])],
    ),
)
def test_a_run_prints_the_originals_losses(
    program: Program, tmp_path: Path, name: str, original: bool, backend: str
) -> None:
    assert_parity(program, tmp_path, CASES[name], original, backend)


@pytest.mark.slow
@pytest.mark.parametrize("name", COMPILED)
def test_compile_prints_the_originals_losses(program: Program, tmp_path: Path, name: str) -> None:
    assert_parity(program, tmp_path, CASES[name], False, "compile")


@INTERPRETED
@pytest.mark.slow
@pytest.mark.parametrize("name", ["rmsprop", "kolmogorov_gaussian", "classes_adam", "classes_leaky_kolmogorov"])
def test_triton_prints_the_originals_losses(program: Program, tmp_path: Path, name: str) -> None:
    assert_parity(program, tmp_path, CASES[name], False, "triton", epochs=1)


def test_the_originals_checkpoint_with_the_term_resumes(program: Program) -> None:
    case = CASES["kolmogorov_ce"]
    words = words_of(case["args"], None)
    words[words.index("-e") + 1] = "17"
    words += ["--save-interval", "100000"]
    straight = program(*words, folder="straight")
    resumed = program(*words, "--resume", GOLDEN / "original_kolmogorov_epoch_000014.pt", folder="resumed")
    assert resumed.status == 0, resumed.log
    ours, theirs = losses(straight.log), losses(resumed.log)
    assert set(theirs) == {16, 17}
    for epoch, row in theirs.items():
        assert row == pytest.approx(ours[epoch], rel=RELATIVE)
