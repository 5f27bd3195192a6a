"""A film whose reads or writes fail, or whose frames are cut: what goes on, what is kept, what is said."""

import errno
import io
import itertools
import resource
from pathlib import Path

import pytest
from PIL import Image

from draw_poly.engine.failure import explain
from draw_poly.engine.record import film_reader
from draw_poly.engine.record.film import Film, continued
from tests.engine.record.test_film import decoded, filmed, noise, picture, values


def fail_reads(monkeypatch: pytest.MonkeyPatch, numbers: range) -> None:
    """Has these reads of films fail, counted from 0, as a disk's do."""
    count = itertools.count()

    class Failing(io.FileIO):
        def read(self, size: int | None = -1) -> bytes:
            if next(count) in numbers:
                raise OSError(errno.EIO, "Input/output error")
            return super().read(size)

    class Film(film_reader._File, Failing):
        pass

    monkeypatch.setattr(film_reader, "_File", Film)


@pytest.mark.parametrize("first", [0, 1, 2])
def test_a_read_that_fails_is_not_the_end_of_a_film(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: int
) -> None:
    path = tmp_path / "film.mp4"
    film = Film(path, 64, 64)
    for index in range(12):
        film.append(noise(index))
    before = path.read_bytes()
    with monkeypatch.context() as patched:
        fail_reads(patched, range(first, first + 1))
        with pytest.raises(OSError, match="Input/output") as failure:
            film.close()
    assert explain(failure.value) == f"{path} cannot be read (Input/output error)"
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    # A resume that meets it in passing goes on with all frames.
    fail_reads(monkeypatch, range(first, first + 1))
    film = continued(path, (64, 64), 12, [])
    film.close()
    assert film.notes == []
    assert len(decoded(path)) == 12


def test_a_film_that_cannot_be_read_is_kept_and_another_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, kept = tmp_path / "film.mp4", tmp_path / "film.kept-1.mp4"
    filmed(path, 5)
    before = path.read_bytes()
    with monkeypatch.context() as patched:
        fail_reads(patched, range(1000))
        film = continued(path, (64, 64), 5, [])
    film.append(picture(9, 64, 64))
    film.close()
    assert values(path) == [9]
    assert kept.read_bytes() == before
    said = "\n".join(film.notes)
    assert f"{path} cannot be read (Input/output error)" in said
    assert f"it is kept as {kept}" in said
    assert f"{path} lacks 5 of its first 5 pictures" in said


def test_a_rewrite_that_loses_a_frame_does_not_take_the_films_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "film.mp4"
    film = Film(path, 64, 64)
    for index in range(8):
        film.append(picture(index, 64, 64))
    with monkeypatch.context() as patched:
        patched.setattr(
            "draw_poly.engine.record.film.packets_of",
            lambda source: itertools.islice(film_reader.packets_of(source), 7),
        )
        with pytest.raises(OSError, match="does not read back"):
            film.close()
    assert values(path) == list(range(8))
    assert list(tmp_path.iterdir()) == [path]


def test_a_frame_that_cannot_be_written_is_not_counted_and_leaves_no_half(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    film = Film(path, 64, 64)
    for index in range(3):
        film.append(noise(index))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    whole = path.read_bytes()
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 100, hard))
    try:
        with pytest.raises(OSError, match="File too large") as failure:
            film.append(noise(3))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert failure.value.filename == str(path)
    assert film.frames == 3
    assert path.read_bytes() == whole
    film.close()
    assert len(decoded(path)) == 3


def test_a_cut_frame_is_left_out_by_name_and_stops_nothing(tmp_path: Path) -> None:
    files = []
    for index in range(6):
        files.append(tmp_path / f"{index}.png")
        Image.fromarray(picture(index, 64, 64)).save(files[-1])
    files[2].write_bytes(b"")
    files[4].write_bytes(files[4].read_bytes()[:60])
    film = continued(tmp_path / "film.mp4", (64, 64), 6, files)
    film.close()
    assert values(film.path) == [0, 1, 3, 5]
    assert str(files[2]) in film.notes[0]
    assert str(files[4]) in film.notes[1]
    assert "lacks 2 of its first 6 pictures" in film.notes[2]


def test_the_old_film_stays_until_the_new_one_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "film.mp4"
    filmed(path, 6)
    before = path.read_bytes()

    def killed(self: Film) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Film, "settle", killed)
        with pytest.raises(KeyboardInterrupt):
            continued(path, (64, 64), 5, [])
    assert path.read_bytes() == before
    continued(path, (64, 64), 5, []).close()
    assert values(path) == list(range(5))
    assert list(tmp_path.iterdir()) == [path]
