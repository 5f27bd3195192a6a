"""What a resume makes of files that were lost, moved or interfered with."""

import json
import re
import shutil
from pathlib import Path

from draw_poly.engine.record.film import count_frames
from tests.conftest import Program
from tests.engine.prepare.test_resume import content, metrics, newest
from tests.test_going_on import ALL, everything


def test_a_renamed_image_goes_on_in_the_same_files(program: Program, tmp_path: Path, small_image: Path) -> None:
    assert program(*ALL, folder="whole").status == 0
    assert program(*ALL, "-e", 2).status == 0
    other = tmp_path / "renamed.png"
    small_image.rename(other)
    for epochs in (3, 4):  # the second one resumes a checkpoint that knows the image by its new name
        resumed = program(*ALL, "-i", other, "-e", epochs, "--resume", tmp_path / "out" / "results")
        assert resumed.status == 0
    found, wanted = everything(tmp_path / "out"), everything(tmp_path / "whole")
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        if name.endswith((".csv", ".mp4")):
            assert found[name] == value


def test_another_folder_takes_over_table_and_film(program: Program, tmp_path: Path) -> None:
    assert program(*ALL, folder="whole").status == 0
    assert program(*ALL, "-e", 2).status == 0
    before = everything(tmp_path / "out")
    resumed = program(*ALL, "--resume", tmp_path / "out" / "results", folder="other")
    assert resumed.status == 0
    warned = re.findall(r"WARNING - (.*)", resumed.log)
    assert warned == [f"{tmp_path / 'other' / 'snapshots'} lacks the frames of epochs 0 to 2: they are in "
                      f"{tmp_path / 'out' / 'snapshots'}"]  # fmt: skip
    found, wanted = everything(tmp_path / "other"), everything(tmp_path / "whole")
    assert set(wanted) - set(found) == {name for name in wanted if re.search(r"00000[012]\.png", name)}
    for name, value in found.items():
        if name.endswith((".csv", ".mp4", ".txt")):
            assert value == wanted[name]
    assert everything(tmp_path / "out") == before


def test_a_checkpoint_alone_goes_on_and_says_what_is_missing(program: Program, tmp_path: Path) -> None:
    assert program(*ALL, "-e", 3).status == 0
    alone = tmp_path / "alone_epoch_000002.pt"
    newest(tmp_path / "out").rename(alone)
    shutil.rmtree(tmp_path / "out")
    resumed = program(*ALL, "-e", 5, "--resume", alone, folder="other")
    assert resumed.status == 0
    assert "metrics.csv lacks the rows of epochs 1 to 3" in resumed.log
    assert "lacks 4 of its first 4 pictures" in resumed.log
    assert "lacks the frames" in resumed.log
    assert [row["epoch"] for row in metrics(tmp_path / "other")] == ["4", "5"]
    again = program(*ALL, "-e", 6, "--resume", tmp_path / "other" / "results", folder="other")
    assert "lacks the rows of epochs 1 to 3" in again.log


def test_side_files_that_were_interfered_with_are_kept_and_named(program: Program, tmp_path: Path) -> None:
    assert program(*ALL, "-e", 3, folder="whole").status == 0
    assert program(*ALL, "-e", 2).status == 0
    place = tmp_path / "out"
    (table,), (film,) = place.rglob("metrics.csv"), place.rglob("*.mp4")
    table.write_text(table.read_text().replace(",", ";"), encoding="utf-8-sig")
    film.write_bytes(b"no film at all")
    table.with_name("config.json").write_text("{")
    (frame,) = place.rglob("*_epoch_000001.png")
    frame.write_bytes(frame.read_bytes()[:70])
    for name in ("losses.png", "polytopes.png"):
        table.with_name(name).write_bytes(b"")
    resumed = program(*ALL, "-e", 3, "--resume", place / "results")
    assert resumed.status == 0
    warned = " ".join(re.findall(r"WARNING - (.*)", resumed.log))
    for path in (table, film, table.with_name("config.json")):
        kept = path.with_name(f"{path.stem}.kept-1{path.suffix}")
        assert kept.exists()
        assert f"{path} is not" in warned
        assert f"kept as {kept}" in warned
    assert f"{frame} is no picture that can be read" in warned
    assert metrics(place) == metrics(tmp_path / "whole")
    assert count_frames(film) == 3  # of 4, one of which was cut
    assert json.loads(table.with_name("config.json").read_text())["finished_epoch"] == 3
    assert table.with_name("losses.png").read_bytes() == next((tmp_path / "whole").rglob("losses.png")).read_bytes()


def test_an_empty_frame_is_no_obstacle_where_the_film_has_it(program: Program, tmp_path: Path) -> None:
    assert program(*ALL, "-e", 2).status == 0
    next(tmp_path.rglob("*_epoch_000001.png")).write_bytes(b"")
    resumed = program(*ALL, "--resume", tmp_path / "out" / "results")
    assert resumed.status == 0
    assert count_frames(next(tmp_path.rglob("*.mp4"))) == 5


def test_frames_that_are_gone_are_said(program: Program, tmp_path: Path) -> None:
    assert program(*ALL, "-e", 6, "--save-interval", 2).status == 0
    next(tmp_path.rglob("*_epoch_000002.png")).unlink()
    next(tmp_path.rglob("*_epoch_000004.png")).unlink()
    log = program(*ALL, "-e", 7, "--save-interval", 2, "--resume", tmp_path / "out" / "results").log
    assert "snapshots lacks the frames of epoch 2, epoch 4" in log


def test_only_the_newest_checkpoints_are_kept(program: Program, tmp_path: Path) -> None:
    place = tmp_path / "out" / "results"

    def epochs() -> list[int]:
        return sorted(content(path)["epoch"] + 1 for path in place.glob("checkpoint_*"))

    words = [*ALL, "--checkpoint-interval", 2]
    assert program(*words, "-e", 7, "--keep-checkpoints", 2).status == 0
    assert epochs() == [6, 7]
    assert program(*words, "--seed", 2, "-e", 2).status == 0  # another run's are none of it
    assert program(*words, "-e", 11, "--resume", newest_of(place, 7), "--keep-checkpoints", 1).status == 0
    assert epochs() == [2, 11]
    refused = program(*words, "--keep-checkpoints", 0)
    assert refused.status == 2
    assert "--keep-checkpoints was 0" in refused.log


def newest_of(place: Path, epoch: int) -> Path:
    return next(path for path in place.glob("checkpoint_*") if content(path)["epoch"] + 1 == epoch)
