"""`--code`: rows of a run tell what a code of its network then takes, and a sweep shows it by what varies."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from draw_poly import cli
from draw_poly.engine.code.source import load
from draw_poly.engine.sweep import plots
from draw_poly.engine.sweep.plots import Result, plot_sweep
from draw_poly.engine.sweep.vary import members
from tests.conftest import Program, untimed

FEW = ("--seed", 1, "--no-film", "--save-interval", 4, "--snapshot-format", "jpg", "--regions", "off")
TERM = ("--kolmogorov-shape", "[4]", "--kolmogorov-weight", 0.01, "--kolmogorov-loss-type", "laplacian_nll")
NAMES = ("bits", "network_bits", "coded")


def table(place: Path) -> list[dict[str, str]]:
    (path,) = place.glob("results/*/metrics.csv")
    return untimed(path)


@pytest.mark.parametrize("term", [(), TERM])
@pytest.mark.parametrize("visit", [0.0, 1e9])
def test_a_row_tells_what_the_checkpoints_file_takes(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, term: tuple[object, ...], visit: float
) -> None:
    def run() -> None:
        from draw_poly.engine.training import pace

        monkeypatch.setattr(pace, "VISIT", visit)
        assert program(*FEW, *term, "-e", 9, "--code", 2, "--checkpoint-interval", 2).status == 0

    run()
    rows = table(tmp_path / "out")
    assert [bool(row["bits"]) for row in rows] == [epoch % 2 == 0 for epoch in range(1, 10)]
    for path in sorted((tmp_path / "out" / "results").glob("*.pt"))[:-1]:
        source = load(path, None)
        code = source.weights.code()
        row = rows[int(path.stem[-6:])]
        assert (int(row["bits"]), int(row["network_bits"])) == (code.bits, code.network)
        assert 0 < float(row["coded"]) < 1
    assert len(list((tmp_path / "out").glob("results/*/bits.png"))) == 1


def test_how_wrong_it_becomes_is_told_of_the_points_that_validate(program: Program, tmp_path: Path) -> None:
    assert program(*FEW, "-e", 4, "--code", 4).status == 0
    row = table(tmp_path / "out")[-1]  # in 4096 bins the network is nearly what it was
    assert float(row["coded"]) == pytest.approx(float(row["validation"]), rel=0.02)
    assert float(row["coded"]) != float(row["validation"])


def test_a_resume_goes_on_as_if_it_had_not_stopped(program: Program, tmp_path: Path) -> None:
    assert program(*FEW, "-e", 5, "--code", 2).status == 0
    assert program(*FEW, "-e", 8, "--code", 2, "--resume", tmp_path / "out" / "results").status == 0
    assert program(*FEW, "-e", 8, "--code", 2, folder="straight").status == 0
    assert table(tmp_path / "out") == table(tmp_path / "straight")


def test_what_cannot_be_coded_is_said_once_and_the_run_goes_on(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from draw_poly.engine.code import predictor

    monkeypatch.setattr(predictor, "LARGEST_WEIGHT", 0)
    outcome = program(*FEW, *TERM, "--code", 1)
    assert outcome.status == 0
    assert outcome.log.count("not coded any further") == 1
    assert {row["bits"] for row in table(tmp_path / "out")} == {""}


@pytest.mark.parametrize("words", [(), ("--vary", "seed=1,2")])
def test_without_the_library_a_run_that_is_to_be_coded_is_refused(
    program: Program, monkeypatch: pytest.MonkeyPatch, words: tuple[object, ...]
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "constriction", None)
    outcome = program("--code", 2, *words)
    assert outcome.status == 2
    assert "pip install" in outcome.log


@pytest.mark.parametrize("text", ["0", "often", "-1"])
def test_an_interval_that_is_none_is_refused(program: Program, text: str) -> None:
    outcome = program("--code", text)
    assert outcome.status == 2
    assert "off" in outcome.log


@pytest.mark.parametrize("more", [(), ("--member-frames",)])
def test_a_sweeps_members_are_coded_and_shown(program: Program, tmp_path: Path, more: tuple[object, ...]) -> None:
    words = ("--vary", "kolmogorov-weight=0.01,0.1", *FEW, "--kolmogorov-shape", "[4]", "--code", 3)
    assert program(*words, "-e", 7, *more).status == 0
    (folder,) = (tmp_path / "out" / "results").glob("sweep_*")
    with (folder / "members.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    for member in found:
        (path,) = (folder / member["folder"]).glob("*/metrics.csv")
        rows = untimed(path)
        assert [row["epoch"] for row in rows if row["bits"]] == ["3", "6"]
        assert [float(member[name]) for name in NAMES] == [float(rows[5][name]) for name in NAMES]
    assert (folder / "bits.png").exists()


def test_the_plot_has_a_point_and_a_ring_for_each_coded_member(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = members({"input": "x.png", "shape": "[4]", "epochs": 5}, ["seed=1..3", "l=1,2"])
    losses = [{"bits": 900.0 + i, "network_bits": 600.0 + i, "coded": 0.1 * (i + 1)} for i in range(6)]
    results = [
        Result(one, "done", row if i < 4 else {}) for i, (one, row) in enumerate(zip(found, losses, strict=True))
    ]
    seen: list[Any] = []
    own = plots._bits
    monkeypatch.setattr(plots, "_bits", lambda *given: seen.append(own(*given)) or seen[-1])  # type: ignore[func-returns-value]
    assert "bits.png" in [path.name for path in plot_sweep(results, {}, tmp_path)]
    points = np.concatenate([line.get_xydata() for line in seen[0].axes[0].lines])
    expected = [(row[name], row["coded"]) for row in losses[:4] for name in ("bits", "network_bits")]
    assert sorted(map(tuple, points.tolist())) == sorted(expected)
    assert plot_sweep([Result(one, "done", {}) for one in found], {}, tmp_path) == []


def test_the_flag_is_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    assert "--code EPOCHS" in capsys.readouterr().out
