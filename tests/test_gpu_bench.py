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

from benches.gpu import sanitizers, stalls, supervisor, table, tool
from benches.gpu.record import DONE, FAILED, RUNNING, SKIPPED, Record
from benches.gpu.sections import SECTIONS, Section
from tests.conftest import INTERPRETED
from tests.simulated import Machine

ROOT = Path(__file__).parents[1]
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


# What compute-sanitizer 2025 says of a program.
CLEAN = """\
========= COMPUTE-SANITIZER
step (10, 10), alone
========= ERROR SUMMARY: 0 errors
"""
BROKEN = """\
========= COMPUTE-SANITIZER
========= Invalid __global__ read of size 4 bytes
=========     at gradient_kernel+0x1f40
=========     by thread (96,0,0) in block (3,0,0)
=========     Access at 0x7f1a2b4007fc is out of bounds
=========
========= ERROR SUMMARY: 12 errors
"""
REFUSED = "========= COMPUTE-SANITIZER\n========= Error: Device not supported. Please refer to the documentation.\n"


def test_a_sanitizers_count_and_its_lines_are_read() -> None:
    assert sanitizers.read(CLEAN) == sanitizers.Report(0, [])
    found = sanitizers.read(BROKEN)
    assert found.errors == 12
    assert found.lines[:2] == ["Invalid __global__ read of size 4 bytes", "at gradient_kernel+0x1f40"]
    assert sanitizers.read(REFUSED).errors is None
    assert sanitizers.read("Killed").errors is None


# ncu 2025 --csv --page raw: names, units, a row a kernel; numbers with commas; a cell left empty.
PROFILE = """\
==PROF== Connected to process 77
"ID","Process ID","Kernel Name","Grid Size","gpu__time_duration.sum",\
"smsp__issue_active.avg.pct_of_peak_sustained_active",\
"smsp__average_warps_issue_stalled_barrier_per_issue_active.ratio",\
"smsp__average_warps_issue_stalled_long_scoreboard_per_issue_active.ratio",\
"smsp__average_warps_issue_stalled_barrier_not_issued_per_issue_active.ratio","smsp__inst_executed.sum","empty"
"","","","","us","%","inst","inst","inst","inst",""
"0","77","gradient_kernel","(64, 1, 1)","4.51","21.7","2.10","0.55","9.9","137,856",""
"1","77","update_kernel","(14, 1, 1)","2.30","11.0","0.30","3.75","9.9","12,288",""
==PROF== Disconnected from process 77
"""


def test_a_profile_is_read_with_its_units_and_stalls_are_told_longest_first() -> None:
    rows = stalls.read(PROFILE.splitlines())
    assert [row["Kernel Name"] for row in rows] == ["gradient_kernel", "update_kernel"]
    assert rows[0]["gpu__time_duration.sum"] == [4.51, "us"]
    assert rows[0]["smsp__inst_executed.sum"] == [137856.0, "inst"]
    assert "empty" not in rows[0]
    told = stalls.told(rows[1])
    assert told["stalls"] == {"long_scoreboard": 3.75, "barrier": 0.3}
    assert told["issue slots busy, %"] == [11.0, "%"]
    assert stalls.read(["==ERROR== Failed to initialize the profiler: LibraryNotLoaded"]) == []


def bench(tmp_path: Path, small: bool = True) -> tuple[Any, dict[str, Any]]:
    from benches.gpu.course import Bench

    record = Record(tmp_path / "gpu.json")
    made = Bench(record, "section", CPU, small, time.time() + 100, [sys.executable])
    return made, record.sections["section"]


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of tools, and no others."""
    folder = tmp_path / "tools"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/usr/bin:/bin")
    monkeypatch.setattr(tool, "PLACES", ())
    if tool.find("ncu") or tool.find("compute-sanitizer"):
        pytest.skip("a tool of this machine is in the way")
    return folder


def script(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@INTERPRETED
@pytest.mark.parametrize(("section", "said"), [(sanitizers, "compute-sanitizer is not"), (stalls, "ncu is not")])
def test_a_tool_that_is_not_installed_skips_its_section(
    tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, section: Any, said: str
) -> None:
    from benches.gpu.course import Skip

    monkeypatch.setattr(sanitizers, "_rerun", lambda bench: None)
    with pytest.raises(Skip, match=said):
        section.work(bench(tmp_path)[0])


@INTERPRETED
def test_sanitizers_errors_and_one_that_comes_to_no_end_are_wrong(
    tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sanitizers, "_rerun", lambda bench: None)
    for name, text in (("clean", CLEAN), ("broken", BROKEN), ("refused", REFUSED)):
        (tools / name).write_text(text)
    said = '"$2" in memcheck) cat {0}/broken; exit 1;; initcheck) cat {0}/clean;; *) cat {0}/refused; exit 255;; esac'
    script(tools / "compute-sanitizer", "case " + said.format(tools))
    made, entry = bench(tmp_path)
    sanitizers.work(made)
    assert [sentence.split(":")[0] for sentence in entry["wrong"]] == ["memcheck", "synccheck came to no end"]
    assert entry["found"]["initcheck"]["errors"] == 0
    assert entry["found"]["memcheck"]["errors"] == 12


@INTERPRETED
def test_a_profilers_file_is_read_and_one_that_saw_nothing_is_told(tools: Path, tmp_path: Path) -> None:
    (tools / "profile").write_text(PROFILE)
    read_log = 'while [ "$1" != --log-file ]; do shift; done; '
    script(tools / "ncu", f'{read_log}cp {tools}/profile "$2"')
    made, entry = bench(tmp_path)
    stalls.work(made)
    assert [one["kernel"] for one in entry["found"]["kernels"]] == ["gradient_kernel", "update_kernel"]
    script(tools / "ncu", f'{read_log}echo "==ERROR== ERR_NVGPUCTRPERM" > "$2"; exit 1')
    with pytest.raises(RuntimeError, match=r"ncu saw no kernel: status 1, .*ERR_NVGPUCTRPERM"):
        stalls.work(made)


def alive(number: int) -> bool:
    try:
        return "zombie" not in Path(f"/proc/{number}/status").read_text()
    except OSError:
        return False


def test_a_program_that_takes_too_long_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    number = tmp_path / "number"
    slow = ["sh", "-c", f"sleep 100 & echo $! > {number}; echo begun; wait"]
    found = tool.together({"slow": slow, "quick": ["echo", "done"]}, 1.0)
    assert (found["slow"].status, found["slow"].out) == (None, "begun\n")
    assert found["slow"].ending == "stopped after 1 s"
    assert (found["quick"].status, found["quick"].tail()) == (0, "done")
    ends = time.time() + 30
    while alive(int(number.read_text())):  # told to end, it does when its turn comes
        assert time.time() < ends
        time.sleep(0.01)


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


PEER = """
import pathlib, sys, time
name, go = sys.argv[3], pathlib.Path(sys.argv[5])
if name == "raises":
    raise KeyError("original's way")
if name in ("absent", "wrong"):
    print('{"%s": "so it is"}' % name, flush=True)
    sys.exit()
if name == "late":
    time.sleep(100)
print('{"ready": 1.0}', flush=True)
while not go.exists():
    time.sleep(0.01)
if name == "dies":
    sys.exit(4)
print('{"microseconds": {"ours": 1.0, "%s": 2.0}, "times_ours": 2.0}' % name, flush=True)
"""


@INTERPRETED
def test_a_peer_that_is_missing_wrong_late_or_dies_is_told_and_the_others_are_timed(tmp_path: Path) -> None:
    from benches.gpu import peers

    made, entry = bench(tmp_path)
    made.python = [sys.executable, "-c", PEER]
    peers._together(made, ("raises", "absent", "wrong", "late", "dies", "fine"), tmp_path, 3.0)
    found = entry["found"]
    assert found["fine"] == {"ready": 1.0, "microseconds": {"ours": 1.0, "fine": 2.0}, "times_ours": 2.0}
    assert found["absent"] == {"absent": "so it is"}
    assert found["late"]["failed"].startswith("not ready after 3 s")
    assert found["dies"]["failed"].startswith("status 4")
    assert found["raises"]["failed"].startswith("status 1")
    assert entry["wrong"] == ["wrong: so it is"]


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


COURSE, ALONE = "test_the_whole_course_on_a_simulated_device", "DRAW_POLY_TESTS_ALONE"


@pytest.mark.slow
@INTERPRETED
def test_the_whole_course_on_a_simulated_device(
    cuda: Machine, tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.environ.get(ALONE) != "1":  # autograd counts devices once in a process, and other tests have used it
        command = [sys.executable, "-m", "pytest", "-n", "0", "-q", "-m", "slow", f"{__file__}::{COURSE}"]
        plain = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        done = subprocess.run(command, cwd=ROOT, env=plain | {ALONE: "1"}, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-8000:]
        return
    from benches.gpu import device, epochs
    from benches.gpu.course import Course

    (tools / "clean").write_text(CLEAN)
    (tools / "profile").write_text(PROFILE)
    script(tools / "compute-sanitizer", f"cat {tools}/clean")
    script(tools / "ncu", f'while [ "$1" != --log-file ]; do shift; done; cp {tools}/profile "$2"')
    monkeypatch.setattr(epochs, "busy", lambda device, work, calls: 1.0)  # there is no profiler of a simulated device
    record = Record(tmp_path / "gpu.json")
    python = [sys.executable, "-m", "tests.simulated.python"]
    Course(record, device.find(), True, time.time() + 3600, python).run(SECTIONS, Nothing())  # type: ignore[arg-type]
    assert list(record.sections) == [one.name for one in SECTIONS]
    assert {name: entry["wrong"] for name, entry in record.sections.items() if entry["wrong"]} == {}
    assert {entry["status"] for entry in record.sections.values()} == {DONE}, record.content
    found = {name: entry["found"] for name, entry in record.sections.items()}
    assert found["command"]["captured beside a waiting thread"]["same as alone"] is True
    assert found["checks"]["passed"] == found["checks"]["outputs"] >= 20
    assert {"main", "with the term"} <= set(found["epochs"]["microseconds"])
    assert found["bits"]["main, launched one by one"] == found["bits"]["resumed"] == "the same"
    assert found["sanitizers"]["reruns main"]["other than the first"] == 0
    assert found["sanitizers"]["initcheck"]["errors"] == 0
    assert len(found["stalls"]["kernels"]) == 2
    assert set(found["peers"]) == {"original's way", "JAX"}  # the first needs autograd, which is not simulated
    assert cuda.replays > 0
