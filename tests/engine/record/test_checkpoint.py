"""What a checkpoint holds comes back, whichever version or program wrote it; a resume reads each file once."""

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from draw_poly.engine.record import checkpoint, film_reader
from draw_poly.engine.record.checkpoint import FIELDS, Checkpoint
from tests.conftest import GOLDEN, Program
from tests.engine.prepare.test_resume import content, newest, same

TERM = ["--kolmogorov-shape", "[4]", "--kolmogorov-weight", 0.1, "--kolmogorov-bins", 20]
# What came to the original's keys, and what each is where a file lacks it.
OURS: dict[str, Any] = {
    "settings": None, "run": None, "image_sha256": None, "training_points": None, "watch": None, "film_frames": 0,
    "drawn_seed": 1, "number": 1, "image_name": None, "metrics_rows": [], "unwritten_frames": [],
    "kernel_variant": None,
}  # fmt: skip


def test_what_is_written_is_read(program: Program, tmp_path: Path) -> None:
    assert program("--seed", 1, *TERM).status == 0
    path = newest(tmp_path / "out")
    stored = checkpoint.load(path)
    assert FIELDS.keys() == {one.name for one in dataclasses.fields(Checkpoint)}
    checkpoint.save(tmp_path / "again.pt", stored)
    one, two = content(path), content(tmp_path / "again.pt")
    assert list(one) == list(two)
    assert all(same(one[key], two[key]) for key in one)


@pytest.mark.parametrize("key", OURS)
def test_a_file_that_lacks_what_came_later_is_read(program: Program, tmp_path: Path, key: str) -> None:
    assert program("--seed", 1, "-e", 1).status == 0
    stored = content(newest(tmp_path / "out"))
    del stored[key]
    older = tmp_path / "older_epoch_000000.pt"
    torch.save(stored, older)
    read = checkpoint.load(older)
    names = {"training_points": "split", "image_sha256": "digest", "drawn_seed": "seed", "metrics_rows": "rows",
             "unwritten_frames": "unwritten", "kernel_variant": "variant"}  # fmt: skip
    if key not in ("settings", "watch", "image_name"):
        assert getattr(read, names.get(key, key)) == OURS[key]
    assert read.settings["points"] == 100
    assert read.state.epoch == 1


def test_the_originals_tells_its_settings_by_our_names() -> None:
    read = checkpoint.load(GOLDEN / "original_kolmogorov_epoch_000014.pt")
    stored = content(GOLDEN / "original_kolmogorov_epoch_000014.pt")
    assert read.settings["kolmogorov_weight"] == stored["kolmogorov_weight"]
    assert read.settings["shape"] == stored["args"]["shape"]
    assert read.state.epoch == 15
    assert read.state.predictor is not None
    assert (read.run, read.split, read.film_frames) == (None, None, 0)


def test_a_resume_reads_each_file_once(program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert program("--seed", 1, "-e", 3).status == 0
    place = tmp_path / "out" / "results"
    (table,), (film,) = place.glob("*/metrics.csv"), place.glob("*.mp4")
    last = newest(tmp_path / "out")
    reads = Counter[Path]()
    read_bytes = Path.read_bytes

    def reading(self: Path) -> bytes:
        reads[self] += 1
        return read_bytes(self)

    class Film(film_reader._File):
        def __init__(self, path: Any) -> None:
            reads[Path(path)] += 1
            super().__init__(path)

    class Reached(Exception):
        """The first epoch is about to be trained: all was found by then."""

    def begins(*words: object) -> None:
        raise Reached

    monkeypatch.setattr(Path, "read_bytes", reading)
    monkeypatch.setattr(film_reader, "_File", Film)
    monkeypatch.setattr("draw_poly.engine.record.recorder.Recorder.begin", begins)
    monkeypatch.setattr("draw_poly.engine.record.recorder.Recorder.finish", begins)
    program("--seed", 1, "-e", 5, "--resume", place)
    assert {path: reads[path] for path in (last, table)} == {last: 1, table: 1}
    assert reads[film] == 1
