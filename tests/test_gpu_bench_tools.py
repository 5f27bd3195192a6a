"""What `benches.gpu` asks of other programs: sanitizers, a profiler, peers, and an end to those that come to none."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from benches.gpu import sanitizers, stalls, tool
from benches.gpu.record import DONE, Record
from benches.gpu.sections import SECTIONS
from tests.conftest import INTERPRETED
from tests.processes import ROOT
from tests.simulated import Machine
from tests.test_gpu_bench import Nothing
from tests.test_gpu_bench_figures import bench

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
