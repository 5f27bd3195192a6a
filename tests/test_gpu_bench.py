"""What `python -m benches.gpu` does with its minutes: nothing that goes wrong in a part takes the rest with it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benches.gpu import supervisor
from benches.gpu.record import DONE, FAILED, RUNNING, SKIPPED, Record
from benches.gpu.sections import Section
from tests.conftest import INTERPRETED
from tests.processes import ROOT

CPU = torch.device("cpu")


class Nothing:
    """No kernels are compiled ahead."""

    def wait(self, section: str, everything: bool, seconds: float) -> None:
        """At once."""


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Runs sections of these names and works on the CPU; what the file holds in the end."""
    pytest.importorskip("triton")
    from benches.gpu.course import Course

    def course(budget: float = 1000.0, estimate: float = 10.0, **works: Callable[[Any], None] | None) -> dict[str, Any]:
        sections = []
        for name, work in works.items():
            if work:
                monkeypatch.setitem(sys.modules, f"benches.gpu.{name}", SimpleNamespace(work=work))
            sections.append(Section(name, "what it shows", estimate, name))
        path = tmp_path / "gpu.json"
        made = Course(Record(path), CPU, False, time.time() + budget, [sys.executable])
        made.run(sections, Nothing())  # type: ignore[arg-type]
        content: dict[str, Any] = json.loads(path.read_text())["sections"]
        return content

    return course


@INTERPRETED
def test_a_section_that_raises_is_told_and_the_next_runs(run: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    seen: list[dict[str, Any]] = []

    def bad(bench: Any) -> None:
        bench.note(before=1)
        raise KeyError("original's way")

    def good(bench: Any) -> None:
        seen.append(json.loads((tmp_path / "gpu.json").read_text())["sections"])
        bench.note(figure=2)

    found = run(bad=bad, good=good)
    assert seen[0]["bad"]["reason"] == 'KeyError: "original\'s way"'  # written before the next began
    assert seen[0]["good"]["status"] == RUNNING
    assert found["bad"]["status"] == FAILED
    assert found["bad"]["found"]["before"] == 1
    assert "raise KeyError" in found["bad"]["found"]["traceback"]
    assert (found["good"]["status"], found["good"]["found"]) == (DONE, {"figure": 2})


@INTERPRETED
def test_a_section_whose_file_cannot_be_imported_is_told_and_the_next_runs(run: Callable[..., dict[str, Any]]) -> None:
    found = run(missing=None, good=lambda bench: None)
    assert found["missing"]["reason"] == "ModuleNotFoundError: No module named 'benches.gpu.missing'"
    assert (found["missing"]["status"], found["good"]["status"]) == (FAILED, DONE)


@INTERPRETED
def test_what_does_not_fit_is_skipped_and_told_and_what_fits_still_runs(run: Callable[..., dict[str, Any]]) -> None:
    found = run(budget=30.0, estimate=60.0, long=lambda bench: bench.note(ran=True))
    assert found["long"]["status"] == SKIPPED
    assert found["long"]["reason"] == "it takes about 60 s, and 30 s of the budget were left"
    assert found["long"]["found"] == {}
    assert run(budget=30.0, estimate=20.0, short=lambda bench: bench.note(ran=True))["short"]["status"] == DONE
    assert run(budget=-5.0, late=lambda bench: None)["late"]["reason"].endswith("and 0 s of the budget were left")


@INTERPRETED
def test_what_is_wrong_is_kept_and_makes_the_status(run: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    run(fine=lambda bench: bench.note(figure=1))
    assert Record.read(tmp_path / "gpu.json").status == 0
    found = run(wrong=lambda bench: bench.wrong("an output is wrong"))
    assert (found["wrong"]["status"], found["wrong"]["wrong"]) == (DONE, ["an output is wrong"])
    assert Record.read(tmp_path / "gpu.json").status == 1


@INTERPRETED
def test_a_process_that_has_lost_its_device_leaves_the_rest_to_another(
    run: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from benches.gpu import device
    from benches.gpu.course import LOST

    monkeypatch.setattr(device, "lost", lambda device: True)
    with pytest.raises(SystemExit) as left:
        run(first=lambda bench: None, second=lambda bench: None)
    assert left.value.code == LOST
    assert set(Record.read(tmp_path / "gpu.json").sections) == {"first"}


CHILD = """
import os, signal, sys, time
from pathlib import Path
from benches.gpu.record import Record
path, end, names = Path(sys.argv[1]), time.time() + 100, sys.argv[3:]
record = Record.read(path)
for name in names:
    record.begin(name, time.time() if name == "hangs" else end)
    if name == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if name == "hangs":
        time.sleep(100)
    if name == "leaves":
        sys.exit(3)
    record.end(name, "done")
    if name == "loses":
        sys.exit(75)
"""


def supervised(tmp_path: Path, *names: str, script: str = CHILD) -> dict[str, Any]:
    path = tmp_path / "gpu.json"
    supervisor.supervise([sys.executable, "-c", script, str(path)], names, path, time.time() + 100)
    content: dict[str, Any] = json.loads(path.read_text())["sections"]
    return content


def test_whatever_ends_a_process_another_goes_on_after_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "LATE", 0.1)
    found = supervised(tmp_path, "first", "killed", "second", "hangs", "third", "leaves", "loses", "last")
    assert {name: entry["status"] for name, entry in found.items()} == {
        "first": DONE, "killed": FAILED, "second": DONE, "hangs": FAILED, "third": DONE, "leaves": FAILED,
        "loses": DONE, "last": DONE,
    }  # fmt: skip
    assert found["killed"]["reason"] == f"its process was ended by signal {signal.SIGKILL.value}"
    assert found["hangs"]["reason"] == "it hung, and its process was ended"
    assert found["leaves"]["reason"] == "its process ended with status 3"


def test_a_process_that_does_not_begin_ends_it_and_one_that_refuses_has_said_why(tmp_path: Path) -> None:
    found = supervised(tmp_path, "first", "second", script="raise SystemExit(7)")
    assert {entry["reason"] for entry in found.values()} == {
        "the measuring process did not begin: its process ended with status 7"
    }
    with pytest.raises(SystemExit) as left:
        supervised(tmp_path, "first", script=f"raise SystemExit({supervisor.REFUSED})")
    assert left.value.code == supervisor.REFUSED


def test_a_record_is_whole_whenever_its_writer_dies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "gpu.json"
    record = Record(path)
    record.begin("first", 0.0)
    before = path.read_text()

    def die(source: object, target: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("draw_poly.engine.record.disk.os.replace", die)
    with pytest.raises(KeyboardInterrupt):
        record.end("first", DONE)
    assert path.read_text() == before
    assert Record.read(path).sections["first"]["status"] == RUNNING


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--json", "nowhere/gpu.json"], "--json was nowhere/gpu.json: its folder is not there"),
        (["--budget", "0"], "--budget was 0.0: give seconds above 0"),
        (["--sections", "all"], "invalid choice: 'all'"),
    ],
)
def test_bad_words_are_refused_in_a_sentence(capsys: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    from benches.gpu.__main__ import main

    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.slow
def test_without_a_gpu_it_refuses_in_a_sentence(tmp_path: Path) -> None:
    pytest.importorskip("triton")
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-m", "benches.gpu", "--json", tmp_path / "gpu.json"], cwd=ROOT, env=environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "no GPU that torch can use: give --small with TRITON_INTERPRET=1" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_no_file_of_it_needs_av_or_isal() -> None:
    pytest.importorskip("triton")
    files = [path.stem for path in (ROOT / "benches" / "gpu").glob("*.py")]
    script = "import importlib, sys\nfor name in ('av', 'isal', 'jax', 'pytest'): sys.modules[name] = None\n"
    script += f"for name in {files}: importlib.import_module(f'benches.gpu.{{name}}')"
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


@pytest.mark.slow
@INTERPRETED
def test_the_command_rehearses_sections_and_prints_a_table(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benches.gpu", "--small", "--json", str(tmp_path / "gpu.json")]
    done = subprocess.run(
        [*command, "--sections", "tuning", "times"], cwd=ROOT, env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    sections = json.loads((tmp_path / "gpu.json").read_text())["sections"]
    assert [(name, entry["status"], entry["wrong"]) for name, entry in sections.items()] == [
        ("times", DONE, []), ("tuning", DONE, []),
    ]  # fmt: skip
    assert {"step [5]*2, 40", "evaluate [5]*2, 64", "validate [5]*2, 40"} <= set(
        sections["times"]["found"]["microseconds"]
    )
    assert "predicted" in done.stdout
