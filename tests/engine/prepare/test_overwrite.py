"""What `--overwrite` replaces, and when: not before all was tried that the new run needs."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from draw_poly.engine.training.trainer import Launched, Trainer
from tests.conftest import Program
from tests.engine.prepare.test_ownership import TERM, content_of


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes something fail that a run calls, by its name."""

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("this setting does not work")

    return lambda name: monkeypatch.setattr(name, fail)


@pytest.mark.parametrize(
    "name",
    [
        "draw_poly.engine.training.fresh.fresh_state",
        "draw_poly.engine.training.setup.Setup.on",
        "draw_poly.engine.record.gallery.rasterizer_for",
        "draw_poly.engine.pictures.frame.Panels.of",
        "draw_poly.engine.pictures.cpu_drawing.CpuRasterizer.draw",
        "draw_poly.engine.training.trainer.Trainer.launch",
        "draw_poly.engine.record.film._begin",
        "draw_poly.engine.record.encoder.FilmComposer.compose",
        "draw_poly.engine.record.encoder.PictureComposer.compose",
        "draw_poly.engine.record.encoder.PictureWriter.write",
        "draw_poly.engine.record.gallery.caption",
    ],
)
def test_nothing_is_removed_for_a_run_that_cannot_begin(
    program: Program, place: Path, broken: Callable[[str], None], name: str
) -> None:
    words = ["--seed", 1, "--backend", "cpu"]
    assert program(*words, "--checkpoint-interval", 2).status == 0
    before = content_of(place)
    middle = min((place / "results").glob("checkpoint_*.pt"))
    broken(name)
    for more in (["--overwrite"], ["--overwrite", "--resume", middle, "--resume-lr", 0.1]):
        if name == "draw_poly.engine.training.fresh.fresh_state" and "--resume" in more:
            continue
        outcome = program(*words, *more)
        assert outcome.status == 3
        assert "The run cannot begin: RuntimeError: this setting does not work" in outcome.log
        assert content_of(place) == before


def test_nothing_is_removed_for_a_run_that_learns_nothing(program: Program, place: Path) -> None:
    words = ["--seed", 1, "--optimizer", "sgd", "-l", 0.5]
    assert program(*words).status == 0
    before = content_of(place)
    outcome = program(*words, "--overwrite", *TERM, "--kolmogorov-loss-type", "mse", "--kolmogorov-weight", 1e18)
    assert outcome.status == 1
    assert "Stopped, and nothing was replaced: the loss was not finite in the first epoch, step 2 of 4" in outcome.log
    assert content_of(place) == before


def test_what_overwrite_replaces_goes_when_all_was_tried(program: Program, place: Path) -> None:
    assert program("--seed", 1, "--checkpoint-interval", 2).status == 0
    middle = min((place / "results").glob("checkpoint_*.pt"))
    words = ["--seed", 1, "-e", 3, "--overwrite"]
    assert program(*words, "--resume", middle, "--resume-lr", 0.1).status == 0
    assert sorted(path.name[-9:] for path in (place / "results").glob("*.pt")) == ["000001.pt", "000002.pt"]
    assert len(list((place / "snapshots").iterdir())) == 4
    assert program(*words).status == 0
    assert [path.name[-9:] for path in (place / "results").glob("*.pt")] == ["000002.pt"]
    assert not [path for path in place.rglob(".*") if path.is_file()]


@pytest.mark.parametrize("seed", [["--seed", 1], []])
@pytest.mark.parametrize("way", ["a loss that is not finite", "a signal", "a crash"])
def test_a_run_that_ended_before_epoch_1_is_no_obstacle(
    program: Program, tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch, seed: list[object], way: str
) -> None:
    words = [*seed, "--backend", "cpu"]
    if way == "a loss that is not finite":
        words += ["--optimizer", "sgd", "-l", 1e18]
        assert program(*words).status == 1
        assert program(*words).status == 1
        assert "cannot" not in program(*words).log
    else:
        launch = Trainer.launch

        def launching(self: Trainer, *words: Any, **named: Any) -> Launched:
            raise KeyboardInterrupt if way == "a signal" else RuntimeError

        monkeypatch.setattr(Trainer, "launch", launching)
        assert program(*words).status == (130 if way == "a signal" else 3)
        assert content_of(place) == {}
        monkeypatch.setattr(Trainer, "launch", launch)
        assert program(*words).status == 0
    assert not [name for name in content_of(place) if re.search(r"_(1|none)-2", name)]
