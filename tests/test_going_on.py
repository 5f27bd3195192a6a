"""What a resume makes of a run that could not write all of its files, or not finish them."""

import errno
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from draw_poly.engine.pictures.caption import LossCurves
from draw_poly.engine.pictures.drawing import AdaptiveRasterizer
from draw_poly.engine.record.film import Film, count_frames
from draw_poly.engine.record.metrics import Metrics
from draw_poly.engine.record.recorder import Recorder
from draw_poly.engine.record.table import Numbers
from tests.conftest import Program, slow, untimed
from tests.engine.prepare.test_resume import content, newest, same

ALL = ["--seed", 1, "--save-interval", 1, "--backend", "eager"]


def full(path: Path) -> OSError:
    return OSError(errno.ENOSPC, "No space left on device", str(path))


def fail_replacing(monkeypatch: pytest.MonkeyPatch, *ends: str) -> None:
    """Has every file of these endings fail to take its name."""
    real = os.replace

    def replace(source: object, target: object) -> None:
        if str(target).endswith(ends):
            raise full(Path(str(target)))
        real(source, target)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "replace", replace)


def everything(place: Path) -> dict[str, object]:
    """A run's files that are the same whenever it is the same run, by name: films by their number of pictures."""
    found: dict[str, object] = {}
    for path in sorted(place.rglob("*")):
        if path.suffix in (".png", ".jpg", ".txt"):
            found[path.name] = path.read_bytes()
        elif path.suffix == ".mp4":
            found[path.name] = count_frames(path)
        elif path.name == "metrics.csv":
            found[path.name] = untimed(path)
        elif path.is_file() and path.suffix not in (".pt", ".json"):
            found[path.name] = "litter"
    return found


def fail_at_last(self: Recorder, finished: int | None) -> None:
    if finished is not None:
        raise full(self.files.settings)


def fail_closing(film: Film) -> None:
    raise full(film.path)


@pytest.mark.parametrize(
    ("what", "interval"),
    [
        *[("_1.txt", 1), slow(".mp4", 1), (".mp4", 3), ("losses.png", 3), slow("polytopes.png", 1)],
        *[("smoothed.png", 3), slow("000004.png", 1), ("000004.png", 3), ("000003.pt", 1), ("config.json", 3)],
    ],
)
def test_a_run_that_ended_in_finishing_makes_what_is_missing(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, interval: int
) -> None:
    words = [*ALL, "--save-interval", interval, "--checkpoint-interval", 2]
    assert program(*words, folder="whole").status == 0
    place = tmp_path / "out"
    with monkeypatch.context() as patched:
        if what == ".mp4":
            patched.setattr(Film, "close", fail_closing)
        elif what == "config.json":
            patched.setattr(Recorder, "_write_settings", fail_at_last)
        else:
            fail_replacing(patched, what)
        failed = program(*words)
    assert failed.status == 3, failed.log
    assert "cannot be written (No space left on device)" in failed.log
    again = [*words, "--resume", place / "results"]
    made = program(*again)
    assert made.status == 0, made.log
    assert everything(place) == everything(tmp_path / "whole")
    before = {path: path.stat().st_mtime_ns for path in place.rglob("*") if path.is_file()}
    nothing = program(*again)
    assert nothing.status == 0
    assert "Nothing to do" in nothing.log
    assert {path: path.stat().st_mtime_ns for path in place.rglob("*") if path.is_file()} == before


def test_what_is_of_an_earlier_epoch_is_made_anew_and_litter_goes(program: Program, tmp_path: Path) -> None:
    """As where a run of 2 epochs was whole, and its resume was killed after the last checkpoint."""
    assert program(*ALL, folder="whole").status == 0
    place = tmp_path / "out"
    assert program(*ALL, "-e", 2).status == 0
    for name in ("weights_*", "*.mp4", "*/metrics.csv", "*/*.png", "*/config.json"):
        (path,) = list((place / "results").glob(name))[:1]
        path.rename(tmp_path / path.name)
    assert program(*ALL, "--resume", place / "results").status == 0
    folder = next(path for path in (place / "results").iterdir() if path.is_dir())
    for path in (*(place / "results").glob("weights_*"), *folder.glob("config.json")):
        shutil.copy(tmp_path / path.name, path)
    for litter in (folder / ".losses.png.tmp", place / "snapshots" / f".{folder.name}_epoch_000003.png.tmp"):
        litter.write_bytes(b"half")
    made = program(*ALL, "--resume", place / "results")
    assert made.status == 0
    assert "still to be made" in made.log
    found, wanted = everything(place), everything(tmp_path / "whole")
    assert found.keys() == wanted.keys()
    (weights,) = (name for name in found if name.startswith("weights"))
    assert found[weights] == wanted[weights]


def test_a_resume_makes_the_smoothed_picture_that_is_not_there(program: Program, tmp_path: Path) -> None:
    assert program(*ALL, "-e", 2).status == 0
    (smoothed,) = tmp_path.rglob("*smoothed.png")
    before = smoothed.read_bytes()
    smoothed.unlink()
    assert program(*ALL, "--resume", tmp_path / "out" / "results").status == 0
    assert smoothed.read_bytes() == before


def test_a_run_that_went_further_is_left_alone_by_a_resume_of_an_earlier_checkpoint(
    program: Program, tmp_path: Path
) -> None:
    assert program(*ALL, "--checkpoint-interval", 2).status == 0
    before = everything(tmp_path / "out")
    two = min((tmp_path / "out" / "results").glob("checkpoint_*"))
    nothing = program(*ALL, "-e", 2, "--resume", two)
    assert "Nothing to do" in nothing.log
    assert everything(tmp_path / "out") == before


class Once:
    """A call that fails from its `number`-th time on, as long as it is to."""

    def __init__(self, real: Callable[..., object], number: int, error: Exception) -> None:
        self.real, self.left, self.error = real, number, error

    def __get__(self, one: object, kind: type) -> Callable[..., object]:
        def call(*words: object) -> object:
            self.left -= 1
            if self.left <= 0:
                raise self.error
            return self.real(one, *words)

        return call


@pytest.mark.parametrize("fault", ["picture", "film", slow("film alone"), slow("no film"), "drawing", "row"])
def test_what_could_not_be_written_is_made_by_the_resume(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    words = [*ALL, "-e", 8, "--checkpoint-interval", 3]
    words += {"film alone": ["--snapshot-format", "none"], "no film": ["--no-film"]}.get(fault, [])
    assert program(*words, folder="whole").status == 0
    with monkeypatch.context() as patched:
        if fault in ("picture", "no film"):
            fail_replacing(patched, "000004.png")
        elif fault.startswith("film"):
            patched.setattr(Film, "append_planes", Once(Film.append_planes, 5, full(Path("film.mp4"))))
        elif fault == "drawing":
            patched.setattr(
                AdaptiveRasterizer, "draw", Once(AdaptiveRasterizer.draw, 5, RuntimeError("the device is tired"))
            )
        else:
            patched.setattr(Metrics, "_write", Once(Metrics._write, 2, full(Path("metrics.csv"))))
        failed = program(*words)
    assert failed.status == 3
    assert 4 <= content(newest(tmp_path / "out"))["epoch"] + 1 < 8 or fault in ("drawing", "row")
    resumed = program(*words, "--resume", tmp_path / "out" / "results")
    assert resumed.status == 0, resumed.log
    assert " - WARNING - " not in resumed.log
    assert everything(tmp_path / "out") == everything(tmp_path / "whole")
    one, two = (content(newest(tmp_path / folder)) for folder in ("whole", "out"))
    assert all(same(one[key], two[key]) for key in one.keys() - {"run", "settings"})
    assert two["unwritten_frames"] == []
    assert two["metrics_rows"] == []


def test_a_frame_that_cannot_be_drawn_again_stays_due(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert program(*ALL, "-e", 6, folder="whole").status == 0
    words = [*ALL, "-e", 6]
    with monkeypatch.context() as patched:
        fail_replacing(patched, "000003.png")
        assert program(*words).status == 3
        assert program(*words, "--resume", tmp_path / "out" / "results").status == 3
        due = content(newest(tmp_path / "out"))["unwritten_frames"]
        assert due[0]["epoch"] == 3
    assert program(*words, "--resume", tmp_path / "out" / "results").status == 0
    assert everything(tmp_path / "out") == everything(tmp_path / "whole")


def test_another_weight_leaves_the_past_as_it_was_trained(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [*ALL, "--kolmogorov-shape", "[4]", "--kolmogorov-bins", 20, "--kolmogorov-weight"]
    logs = [program(*words, 0.1).log]
    curves: list[list[float]] = []
    extend = LossCurves.extend

    def extending(self: LossCurves, rows: Numbers) -> None:
        curves.extend(rows[:, :2].tolist())
        extend(self, rows)

    monkeypatch.setattr(LossCurves, "extend", extending)
    logs.append(program(*words, 0.7, "-e", 6, "--resume", tmp_path / "out" / "results").log)
    said = [float(loss) for log in logs for loss in re.findall(r"Combined Loss: (\S+)", log)]
    assert [row[0] for row in curves] == [1, 2, 3, 4, 5, 6]
    assert [row[1] for row in curves] == pytest.approx(said, abs=1e-6)
    (table,) = tmp_path.rglob("metrics.csv")
    assert [float(row["combined"]) for row in untimed(table)] == pytest.approx(said, abs=1e-6)


def test_checkpoints_are_of_one_size_however_long_the_run(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("draw_poly.engine.training.watch.RECENT", 50)
    words = ["--seed", 1, "--save-interval", 1000, "-s", "[2]", "-p", 8, "-b", 8]
    assert program(*words, "-e", 660, "--checkpoint-interval", 220).status == 0  # losses are kept of 200
    sizes = [path.stat().st_size for path in sorted((tmp_path / "out" / "results").glob("checkpoint_*"))]
    assert len(sizes) == 3
    # A number or two more digits; each tensor begins at 64 bytes. An epoch's fingerprint alone would be 1760 in all.
    assert max(sizes) - min(sizes) <= 64


@pytest.mark.parametrize("when", ["reading a table", "reading a checkpoint", "removing litter"])
def test_sentences_say_which_file_and_what_failed(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    assert program(*ALL, "-e", 2).status == 0
    (table,) = tmp_path.rglob("metrics.csv")
    checkpoint = newest(tmp_path / "out")
    litter = table.with_name(".losses.png.tmp")
    litter.touch()
    target, deed = {
        "reading a table": (table, "read"), "reading a checkpoint": (checkpoint, "read"),
        "removing litter": (litter, "removed"),
    }[when]  # fmt: skip
    name = "unlink" if deed == "removed" else "read_bytes"
    real = getattr(Path, name)

    def failing(self: Path, *words: object, **more: object) -> object:
        if self == target:
            raise OSError(errno.EIO, "Input/output error")
        return real(self, *words, **more)

    monkeypatch.setattr(Path, name, failing)
    failed = program(*ALL, "--resume", tmp_path / "out" / "results")
    assert failed.status == (2 if target == checkpoint else 3)
    assert f"{target} cannot be {deed} (Input/output error)" in failed.log


def test_a_full_disk_has_one_sentence_for_a_checkpoint(
    program: Program, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    real = Path.write_bytes

    def full_for_checkpoints(self: Path, data: bytes) -> int:
        if self.name.endswith(".pt.tmp"):
            real(self, data[:1000])
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(self, data)

    monkeypatch.setattr(Path, "write_bytes", full_for_checkpoints)
    failed = program(*ALL)
    assert failed.status == 3
    assert "epoch_000003.pt cannot be written (No space left on device)" in failed.log
    assert not list(tmp_path.rglob("*.tmp"))
