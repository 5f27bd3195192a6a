"""What `benches.gpu` measures and tells: cases compiled ahead and timed, rows judged, the table of it all."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from benches.gpu import table
from benches.gpu.record import DONE, SKIPPED, Record
from tests.conftest import INTERPRETED
from tests.processes import ROOT
from tests.test_gpu_bench import CPU


def bench(tmp_path: Path, small: bool = True) -> tuple[Any, dict[str, Any]]:
    from benches.gpu.course import Bench

    record = Record(tmp_path / "gpu.json")
    made = Bench(record, "section", CPU, small, time.time() + 100, [sys.executable])
    return made, record.sections["section"]


@INTERPRETED
def test_every_case_that_is_compiled_ahead_can_be_made_and_launched(monkeypatch: pytest.MonkeyPatch) -> None:
    from triton.runtime import interpreter

    from benches.gpu import ahead

    launches: list[object] = []
    monkeypatch.setattr(interpreter.GridExecutor, "__call__", lambda self, *words, **named: launches.append(self.fn))
    found = ahead.cases(False)
    assert {name.partition(ahead.JOINT)[0] for name in found} == {
        "checks", "times", "epochs", "sanitizers", "stalls", "tuning",
    }  # fmt: skip
    assert not [name for name in found if "PyTorch" in name]
    said: list[dict[str, Any]] = []
    names = [name for name in found if "16777216" not in name and "tuning" not in name]
    names += [name for name in found if "tuning" in name][::7]
    ahead.work(names, found, lambda line: said.append(json.loads(line)))
    assert [one["name"] for one in said] == names
    assert not [one for one in said if "error" in one]
    assert len(launches) > len(names)


@pytest.mark.slow
@INTERPRETED
def test_a_worker_compiles_into_the_cache_that_a_run_looks_into(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(tmp_path)
    words = ["--capability", "90", "--share", "0", "--of", str(10**6), "--sections", "epochs"]
    done = subprocess.run(
        [sys.executable, "-m", "benches.gpu.ahead", *words], cwd=ROOT, env=environment, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert json.loads(done.stdout)["name"] == "epochs: main"
    assert "error" not in json.loads(done.stdout)
    kernels = {path.name for path in tmp_path.rglob("*.cubin")}
    assert kernels == {"gradient_kernel.cubin", "update_kernel.cubin", "validate_kernel.cubin"}


@INTERPRETED
def test_a_case_that_cannot_be_timed_is_told_and_the_others_are_timed(tmp_path: Path) -> None:
    from benches.gpu.cases import Case
    from benches.gpu.times import microseconds

    def refuse(device: torch.device) -> Callable[[], object]:
        raise ValueError("no such plan")

    def fails() -> None:
        raise RuntimeError("out of resources")

    made, entry = bench(tmp_path)
    cases = {"made": Case(refuse, 1), "run": Case(lambda device: fails, 1), "fine": Case(lambda device: list, 1)}
    microseconds(made, cases, 2)
    assert set(entry["found"]["microseconds"]) == {"fine"}
    assert entry["found"]["failed"] == {"made": "ValueError: no such plan", "run": "RuntimeError: out of resources"}
    assert entry["wrong"][0].startswith("2 cases could not be timed")
    with pytest.raises(RuntimeError, match="nothing could be timed"):
        microseconds(made, {"run": cases["run"]}, 2)


@INTERPRETED
def test_rows_of_many_draws_are_judged_together() -> None:
    from benches.gpu.checks import Verdict
    from benches.verify_kernels import Row

    verdict = Verdict()
    verdict.hear(0, Row("gradient", "case", "∂θ", 1e-6, 4e-6, 8e-6))
    verdict.hear(1, Row("gradient", "case", "∂θ", 7e-6, 1e-6, 2e-6))  # PyTorch's was lucky here
    assert verdict.wrong() == []
    verdict.hear(2, Row("gradient", "case", "∂θ", 2e-5, 1e-6, 2e-6))
    verdict.hear(3, Row("gradient", "case", "∂θ, again", float("nan"), 0.0, 0.0))
    verdict.hear(4, Row("gradient", "case", "∂φ", float("nan"), 1.0, 2.0))
    assert [row["seed"] for row in verdict.wrong()] == [2, 3, 4]


def test_the_devices_time_is_what_its_spans_cover() -> None:
    pytest.importorskip("triton")
    from benches.gpu.epochs import covered

    events: list[dict[str, Any]] = [
        {"cat": "kernel", "ts": 10.0, "dur": 5.0},
        {"cat": "gpu_memcpy", "ts": 12.0, "dur": 4.0},  # overlaps by three
        {"cat": "kernel", "ts": 30.0, "dur": 2.0},
        {"cat": "cuda_runtime", "ts": 0.0, "dur": 100.0},  # the host's
        {"ph": "M"},
    ]
    assert covered(events) == 8.0
    with pytest.raises(RuntimeError, match="saw nothing"):
        covered(events[3:])


def test_the_table_puts_a_prediction_beside_what_was_measured() -> None:
    one = {"median": 8.25, "least": 8.0, "most": 9.0}
    entries: dict[str, Any] = {
        "times": {"microseconds": {"step [10]*8, 1024": one}},
        "tuning": {"microseconds": {f"gradient 1024, {n}": {**one, "median": n} for n in (5, 3, 4, 2, 1)}},
        "peers": {"JAX": {"microseconds": {"ours": 100.0, "JAX": 900.0}, "times_ours": 9.0}, "other": {"absent": "no"}},
        "checks": {"wrong": [{"seed": 1}]},
    }
    content = {
        "sections": {
            name: {"status": DONE, "wrong": [], "found": found, "seconds": 1} for name, found in entries.items()
        }
    }
    content["sections"]["stalls"] = {"status": SKIPPED, "reason": "ncu is not installed", "wrong": [], "found": {}}
    said = list(table.lines(content))
    (row,) = [line for line in said if line.startswith("step [10]*8, 1024 ")]
    assert row.split()[-4:] == ["8.25", "8.00", "9.00", "7.0"]
    assert [line.split()[2] for line in said if line.startswith("gradient 1024")] == ["1", "2", "3"]
    assert any("skipped: ncu is not installed" in line for line in said)
    assert any(line.startswith("JAX") and line.endswith("9.00") for line in said)
    assert "no figure above is worth anything" in said[-1]


def test_what_the_table_predicts_is_what_the_kernels_read_me_says() -> None:
    text = (ROOT / "kernels" / "README.md").read_text()
    assert f"we predict {table.PREDICTED['step [10]*8, 1024']:.0f} µs a step" in text
    assert f"and {table.PREDICTED['step [10]*8, 1024, cross_entropy 256']:.0f} µs with the term" in text
    assert f"we predict {table.PREDICTED['evaluate [10]*8, 16777216'] / 1000} ms" in text
