"""Regions followed through a run: the rows are those of its networks, and a resume goes on as if it had not stopped."""

import csv
import math
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

from draw_poly.engine.record.checkpoint import load
from draw_poly.engine.record.measures import REGION_MEASURES
from draw_poly.engine.record.metrics import EVERY_EPOCH
from draw_poly.engine.regions.follower import Follower
from draw_poly.engine.regions.lives import Lives, change
from draw_poly.engine.regions.shared import SharedRegions
from draw_poly.engine.regions.statistics import quantiles, statistics
from draw_poly.kernels import cpu
from draw_poly.kernels.cpu.cells import Points
from draw_poly.kernels.cpu.regions import Regions
from draw_poly.kernels.cpu.subdivision.measures import unequal
from tests.conftest import Program
from tests.kernels.region_networks import draw
from tests.kernels.test_regions import patterns

FEW = ("--seed", 1, "--no-film", "--save-interval", 4, "--snapshot-format", "jpg")


def table(place: Path) -> list[dict[str, str]]:
    (path,) = place.glob("results/*/regions.csv")
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_epoch_has_the_row_of_its_network(program: Program, tmp_path: Path) -> None:
    outcome = program(*FEW, "-e", 6, "--regions", "every", "--checkpoint-interval", 1)
    assert outcome.status == 0, outcome.log
    rows = table(tmp_path / "out")
    assert [row["epoch"] for row in rows] == list("123456")
    stored = [load(path) for path in sorted((tmp_path / "out" / "results").glob("*.pt"))]
    width, height = 23, 17
    before = None
    for row, checkpoint in zip(rows, stored, strict=True):
        state, split = checkpoint.state, checkpoint.split
        assert str(state.epoch) == row["epoch"]
        assert split is not None
        found = cpu.subdivide(state.main.network, state.main.parameters[0].numpy())
        pixels = split.training.numpy()
        points = Points(np.stack((pixels % width / width, pixels // width / height)).astype(np.float32).astype(float))
        expected = statistics(found, points)
        assert {name: float(row[name]) for name in expected} == pytest.approx(expected, rel=1e-8)
        now = set(patterns(found))
        if before is not None:
            assert int(row["born"]) == len(now - before)
            assert int(row["died"]) == len(before - now)
        before = now
        assert checkpoint.lives is not None
        assert checkpoint.lives.epoch == state.epoch
    assert set(rows[0]) == {one.name for one in REGION_MEASURES}


def test_a_frame_and_its_row_are_of_one_subdivision(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subdivide = Mock(side_effect=Regions.subdivide)
    monkeypatch.setattr(Regions, "subdivide", lambda *words: subdivide(*words))
    assert program("--seed", 1, "--no-film", "-e", 4).status == 0
    assert [row["epoch"] for row in table(tmp_path / "out")] == list("1234")
    assert subdivide.call_count == 5


def test_a_resume_goes_on_as_if_it_had_not_stopped(program: Program, tmp_path: Path) -> None:
    assert program(*FEW, "-e", 4, "--regions", "every").status == 0
    again = program(*FEW, "-e", 8, "--regions", "every", "--resume", tmp_path / "out" / "results")
    assert again.status == 0, again.log
    assert program(*FEW, "-e", 8, "--regions", "every", folder="straight").status == 0
    assert table(tmp_path / "out") == table(tmp_path / "straight")
    assert len(table(tmp_path / "out")) == 8


def test_the_row_of_a_last_frame_stands_aside_of_what_follows(program: Program, tmp_path: Path) -> None:
    assert program(*FEW, "-e", 6).status == 0
    assert program(*FEW, "-e", 9, "--resume", tmp_path / "out" / "results").status == 0
    assert program(*FEW, "-e", 9, folder="straight").status == 0
    ours, theirs = table(tmp_path / "out"), table(tmp_path / "straight")
    assert [row["epoch"] for row in ours] == ["4", "6", "8", "9"]
    assert [row for row in ours if row["epoch"] != "6"] == theirs


@pytest.mark.parametrize(("asked", "epochs"), [("frames", ["4", "8", "9"]), ("3", ["3", "6", "9"])])
def test_regions_are_found_when_asked_for(program: Program, tmp_path: Path, asked: str, epochs: list[str]) -> None:
    assert program(*FEW, "-e", 9, "--regions", asked).status == 0
    assert [row["epoch"] for row in table(tmp_path / "out")] == epochs


def test_a_run_without_regions_leaves_no_table(program: Program, tmp_path: Path) -> None:
    assert program(*FEW, "--regions", "off").status == 0
    assert not list((tmp_path / "out").glob("results/*/regions.csv"))


def test_too_many_regions_are_said_and_the_run_goes_on(program: Program, tmp_path: Path) -> None:
    outcome = program(*FEW, "--regions", "every", "--most-regions", 2)
    assert outcome.status == 0
    assert outcome.log.count("Regions are not followed any further: the window has more than 2 regions") == 1
    assert table(tmp_path / "out") == []


def test_any_number_of_threads_writes_the_same_rows(tmp_path: Path) -> None:
    generator = np.random.default_rng(5)
    network, start = draw("generic", generator)
    steps = [np.float32(start + 0.01 * generator.normal(size=start.shape)) for _ in range(40)]
    counts = [cpu.subdivide(network, one.astype(np.float64)).cells for one in steps]
    most, ends = max(counts) - 1, counts.index(max(counts))
    assert ends > 8
    points = generator.random((2, 50))
    written = []
    for threads in (1, 3, 8):
        place = tmp_path / str(threads)
        place.mkdir()
        follower = Follower(
            place / "regions.csv", SharedRegions(network, most), points, False, None, EVERY_EPOCH,
            place / "networks.bin", threads,
        )  # fmt: skip
        follower.open(0)
        follower.begin(0, steps[0])
        for epoch, parameters in enumerate(steps[1:], 1):
            follower.follow(epoch, parameters)
        follower.settle()
        follower.stop()
        assert follower.lives is not None
        assert follower.lives.epoch == ends - 1  # up to the first that has more than may be, whoever comes first
        written.append(((place / "regions.csv").read_bytes(), (place / "networks.bin").read_bytes()))
    assert written[0][0].count(b"\n") == ends
    assert written[0] == written[1] == written[2]


@pytest.mark.parametrize("words", [("--regions", "often"), ("--regions", 0), ("--most-regions", 0)])
def test_what_is_no_interval_is_refused(program: Program, words: tuple[object, ...]) -> None:
    outcome = program(*words)
    assert outcome.status == 2
    assert outcome.log.count("\n") == 1


def test_lives_tell_births_deaths_and_ages() -> None:
    generator = np.random.default_rng(4)
    network, parameters = draw("generic", generator)
    found = [
        cpu.subdivide(network, parameters + shift * 0.02 * generator.normal(size=len(parameters))) for shift in range(4)
    ]
    seen: dict[tuple[bool, ...], int] = dict.fromkeys(patterns(found[0]), 0)
    areas = dict(zip(patterns(found[0]), found[0].areas.tolist(), strict=True))
    lives = Lives.begin(found[0], 0)
    for epoch, one in enumerate(found[1:], 1):
        lives, what = Lives.from_dict(lives.to_dict()).follow(Lives.begin(one, epoch))
        now = dict(zip(patterns(one), one.areas.tolist(), strict=True))
        died = [epoch - born for pattern, born in seen.items() if pattern not in now]
        assert what.born == len(now.keys() - areas.keys())
        assert what.died == len(died)
        assert died
        assert what.lifetime == np.median(died)
        assert what.kept_area == pytest.approx(sum(area for pattern, area in now.items() if pattern in areas))
        moved = sum(abs(now.get(key, 0) - areas.get(key, 0)) for key in now.keys() | areas.keys()) / 2
        assert what.moved_area == pytest.approx(moved)
        seen = {pattern: seen.get(pattern, epoch) for pattern in now}
        assert lives.born.tolist() == [seen[pattern] for pattern in patterns(one)]
        assert what.age == pytest.approx(sum(now[key] * (epoch - seen[key]) for key in now))
        areas = now
    same = change(found[0], found[0])
    assert (same.born, same.died, same.moved_area) == (0, 0, 0)
    assert same.kept_area == pytest.approx(1)
    assert math.isnan(same.lifetime)


def test_inequality_and_entropy() -> None:
    assert unequal(np.ones(7)) == pytest.approx((7, 0, np.log(7)))
    assert unequal(np.array([1e-12] * 99 + [1.0]))[:2] == pytest.approx((1, 0.99))
    values = np.sort(np.random.default_rng(1).random(101))
    assert quantiles(values, (0.05, 0.5)) == pytest.approx(np.quantile(values, (0.05, 0.5)))
    assert quantiles(np.full(3, np.inf), (0.5,)) == [np.inf]
    shares = np.sort(np.random.default_rng(2).dirichlet(np.ones(9)))
    assert unequal(3 * shares)[2] == pytest.approx(-(shares * np.log(shares)).sum())
