"""What is made of the benchmarks' figures: verdicts, reports, the README's table."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benches import compare, method, report
from benches.contenders import ORIGINAL
from benches.figures import Record, Run, keep, read
from tests.processes import ROOT


def turns(middle: float, spread: float, seed: int, count: int = 15) -> list[float]:
    generator = torch.Generator().manual_seed(seed)
    return [middle * (1 + spread * value) for value in torch.randn(count, generator=generator).tolist()]


@pytest.mark.parametrize(
    ("after", "spread", "word"),
    [
        (1.0, 0.01, compare.EQUAL),
        (1.04, 0.001, compare.EQUAL),  # runs an hour apart differ by as much
        (1.10, 0.01, compare.SLOWER),
        (0.90, 0.01, compare.FASTER),
        (1.10, 0.20, compare.EQUAL),  # lost in such noise
        (2.00, 0.20, compare.SLOWER),
    ],
)
def test_a_verdict_knows_the_noise(after: float, spread: float, word: str) -> None:
    words = {compare.verdict(turns(1.0, spread, seed), turns(after, spread, seed + 100)).word for seed in range(5)}
    assert words == {word}


def test_too_few_turns_are_no_verdict() -> None:
    assert compare.verdict([1.0, 1.0], [9.0, 9.0]).word == compare.UNSURE


def run_of(scale: float, processor: str = "one") -> Run:
    """A run of two contenders and an axis, all `scale` times as slow."""
    records = []
    for group, info in (("step", {}), ("step, width 4", {"axis": "width", "size": 4})):
        for name, seconds in ((ORIGINAL, 0.004), ("eager", 0.0002)):
            timing = method.Timing(turns(scale * seconds, 0.001, 1), 0.1, 10, 2)
            records.append(Record(group, name, timing, 1e-5, {**info, "GFLOP/s": 100.0, "GB/s": 10.0}))
    facts = {"processor": processor, "cores": 2, "threads": 2, "device": "cpu", "system": "Linux", "python": "3.11"}
    facts |= {
        "versions": {"torch": "2"},
        "commit": "abc",
        "time": "now",
        "mode": "full",
        "absent": {"JAX": "install it"},
    }
    return Run(records, facts)


def test_a_late_state_is_told_beside_the_fresh_one() -> None:
    run = run_of(1)
    late = [
        Record("late step", one.contender, method.Timing([3 * t for t in one.timing.rounds], 0.1, 10, 2), 1e-5, {
            "fresh": "step"
        })
        for one in run.records[:2]
    ]  # fmt: skip
    text = report.whole(Run(run.records + late, run.provenance))
    assert "## Late states against fresh ones" in text
    assert "| step | eager | 200 µs | 600 µs | 3.00 |" in text
    assert "Late states" not in report.whole(run)


def test_a_comparison_counts_what_became_slower_and_refuses_other_machines() -> None:
    assert compare.comparison(run_of(1), run_of(1.5))[1] == 4
    assert compare.comparison(run_of(1), run_of(1))[1] == 0
    assert compare.comparison(run_of(1.5), run_of(1))[1] == 0
    assert "processor, one and two" in str(compare.differing_machines(run_of(1), run_of(1, "two")))


def test_the_readme_takes_the_table_between_its_markers() -> None:
    table = report.summary(run_of(1))
    assert "| step | 4 ms | **200 µs** (20 x) | 10 µs |" in table
    text = f"before\n{report.BEGIN}\nold\n{report.END}\nafter"
    assert report.inserted(text, table) == f"before\n{report.BEGIN}\n{table}\n{report.END}\nafter"
    with pytest.raises(ValueError, match="README"):
        report.inserted("no markers", table)
    assert (ROOT / "README.md").read_text().count(report.BEGIN) == 1


def test_a_report_says_who_was_not_there_and_how_times_grow() -> None:
    text = report.whole(run_of(1))
    assert "- JAX: install it" in text
    assert "Growth with width" in text


def test_what_a_busy_machine_measured_is_not_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_of(1)
    run.records[0].info["GFLOP/s"] = run.records[1].info["GFLOP/s"] = 40.0
    assert run.disturbed() == {"step": 0.4}
    monkeypatch.setattr(report, "read", lambda path: run)
    before = (ROOT / "README.md").read_bytes()
    assert report.main([str(tmp_path / "any.json"), "--readme"]) == 2
    said = capsys.readouterr()
    assert "nothing was kept" in said.err
    assert "## Disturbed" in said.out
    assert (ROOT / "README.md").read_bytes() == before
    assert run_of(1).disturbed() == {}


@pytest.mark.slow
def test_the_suite_checks_times_and_tells_where_its_figures_come_from(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "benches",
        "--quick",
        "-q",
        "-k",
        "checkpoint or (scaling and width) or late",
    ]
    # Not a part of the run that this test belongs to, since a worker of one keeps no figures; nothing is interpreted.
    inherited = ("PYTEST_", "TRITON_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(inherited)}
    done = subprocess.run(
        [*command, "--benchmark-json", path], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    keep(path, tmp_path / "kept.json")
    run = read(tmp_path / "kept.json")
    found = {(record.group, record.contender): record for record in run.records}
    assert {("checkpoint", ORIGINAL), ("checkpoint", "eager"), ("step, width 4", "cpu")} <= set(found)
    late = ("late epoch", "late epoch with the Kolmogorov term", "late evaluation of a million points")
    grown = "epoch with the Kolmogorov term, epochs 500"
    assert {(group, name) for group in (*late, grown) for name in ("cpu", "eager")} <= set(found)
    for record in run.records:
        assert len(record.timing.rounds) == (2 if record.group == "checkpoint" else 1)  # scaling has a share of turns
        assert record.timing.median > 0
        assert record.limit > 0
        assert record.info["loss_error"] < 1e-4
    assert {"processor", "threads", "versions", "commit", "time", "absent"} <= set(run.provenance)
    assert run.provenance["mode"] == "quick"


def test_a_file_of_another_kind_is_refused_in_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "other.json").write_text("{}")
    assert report.main([str(tmp_path / "other.json")]) == 2
    assert "no file of `pytest benches`" in capsys.readouterr().err
