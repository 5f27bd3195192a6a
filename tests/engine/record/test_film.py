from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from draw_poly.engine.pictures.frame import LARGEST, can_be_filmed, film_size
from draw_poly.engine.record.film import Film, continued, count_frames


def picture(index: int, width: int, height: int) -> NDArray[np.uint8]:
    """A frame that tells its number: its gray value."""
    return np.full((height, width, 3), 20 + 4 * index, np.uint8)


def values(path: Path) -> list[int]:
    """The numbers of a film's frames."""
    with av.open(str(path)) as source:
        return [round((int(frame.to_ndarray(format="rgb24").mean()) - 20) / 4) for frame in source.decode(video=0)]


@pytest.mark.parametrize(("width", "height"), [(64, 48), (333, 121), (3, 1), (2, 2), (150, 7)])
def test_a_film_has_its_frames_whatever_their_size(tmp_path: Path, width: int, height: int) -> None:
    path = tmp_path / "film.mp4"
    film = Film(path, width, height)
    for index in range(30):
        film.append(picture(index, width, height))
    film.close()
    assert values(path) == list(range(30))
    with av.open(str(path)) as source:
        stream = source.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt, stream.average_rate) == ("h264", "yuv420p", 24)
        assert (stream.width, stream.height) == (width + width % 2, height + height % 2)


@pytest.mark.parametrize("height", [40, 9000, 40000])
def test_what_can_be_filmed_is_what_ffmpeg_holds(height: int) -> None:
    largest = next(width for width in range(2**28 // height, 0, -1) if can_be_filmed(width, height))
    av.VideoFrame(largest // 2 * 2, height, "yuv420p")
    with pytest.raises(ValueError, match="Invalid argument"):
        av.VideoFrame(largest // 2 * 2 + 2, height, "yuv420p")


def test_an_unfinished_film_plays_up_to_its_last_frame(tmp_path: Path) -> None:
    film = Film(tmp_path / "film.mp4", 64, 64)
    for index in range(20):
        film.append(picture(index, 64, 64))
    assert values(tmp_path / "film.mp4") == list(range(20))
    film.close()


def noise(index: int) -> NDArray[np.uint8]:
    gray = np.random.default_rng(index).integers(0, 255, (64, 64), np.uint8)
    return np.repeat(gray[:, :, None], 3, axis=2)  # colours would be halved by yuv420p


def decoded(path: Path) -> list[NDArray[np.uint8]]:
    with av.open(str(path)) as source:
        return [frame.to_ndarray(format="rgb24") for frame in source.decode(video=0)]


def filmed(path: Path, frames: int, size: int = 64) -> None:
    film = Film(path, size, size)
    for index in range(frames):
        film.append(picture(index, size, size))
    film.close()


def test_a_film_goes_on_from_the_frames_that_count(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    filmed(path, 20)
    before = decoded(path)
    film = continued(path, (64, 64), 12, [])
    for index in range(30, 35):
        film.append(picture(index, 64, 64))
    film.close()
    assert values(path) == [*range(12), *range(30, 35)]
    assert list(tmp_path.iterdir()) == [path]
    # Copied, not encoded again.
    assert all(np.array_equal(one, other) for one, other in zip(before[:12], decoded(path)[:12], strict=True))


def test_a_killed_film_goes_on_without_loss(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    unfinished = Film(path, 64, 64)
    for index in range(9):
        unfinished.append(noise(index))
    before = decoded(path)
    assert len(before) == 9
    film = continued(path, (64, 64), 8, [])
    film.append(noise(9))
    film.close()
    after = decoded(path)
    assert len(after) == 9
    assert all(np.array_equal(one, other) for one, other in zip(before[:8], after[:8], strict=True))
    assert np.abs(after[8].astype(int) - noise(9)).mean() < 10


def test_a_crash_while_a_film_is_taken_over_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    filmed(path, 20)
    path.rename(tmp_path / "film.earlier.mp4")
    filmed(path, 3)  # as far as the crash let it come
    film = continued(path, (64, 64), 15, [])
    film.close()
    assert values(path) == list(range(15))


def test_a_film_of_another_size_is_encoded_again(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    filmed(path, 6, size=32)
    film = continued(path, (64, 64), 5, [])
    film.close()
    assert values(path) == list(range(5))


def test_frame_files_stand_in_for_a_film_that_is_missing_or_broken(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    files = []
    for index in range(4):
        files.append(tmp_path / f"{index}.png")
        Image.fromarray(picture(index, 64, 64)).save(files[-1])
    continued(path, (64, 64), 4, files).close()
    assert values(path) == [0, 1, 2, 3]
    path.write_bytes(b"no film")
    assert count_frames(path) == 0
    continued(path, (64, 64), 4, files).close()
    assert values(path) == [0, 1, 2, 3]


def test_a_fresh_film_takes_nothing_over(tmp_path: Path) -> None:
    filmed(tmp_path / "film.mp4", 5)
    film = continued(tmp_path / "film.mp4", (64, 64), 0, [])
    film.append(picture(9, 64, 64))
    film.close()
    assert values(tmp_path / "film.mp4") == [9]
    continued(tmp_path / "film.mp4", (64, 64), 0, []).close()
    assert not list(tmp_path.iterdir())


def test_large_frames_are_scaled_to_what_players_accept() -> None:
    assert film_size(3072, 1024) == (3072, 1024)
    for width, height in ((12288, 4096), (49152, 16384), (4097, 1), (3, 20000), (4000, 4000)):
        wide, tall = film_size(width, height)
        assert wide % 2 == tall % 2 == 0
        assert wide * tall <= LARGEST
        assert max(wide, tall) <= 4096
        if min(width, height) > 1000:
            assert wide / tall == pytest.approx(width / height, rel=0.01)


@pytest.mark.parametrize(("width", "height"), [(64, 48), (150, 6), (6144, 16)])
def test_frames_drawn_into_the_planes_are_filmed_one_by_one(tmp_path: Path, width: int, height: int) -> None:
    film = Film(tmp_path / "film.mp4", width, height)
    luma, blue, red = film.planes
    assert (luma.shape, blue.shape, red.shape) == ((height, width), *[(height // 2, width // 2)] * 2)
    blue[:], red[:] = 128, 128
    for index in range(12):
        # The same planes again and again: what was encoded must not change with them.
        luma[:] = 16 + round((20 + 4 * index) * 219 / 255)
        film.append_planes()
    film.close()
    assert values(film.path) == list(range(12))
    with av.open(str(film.path)) as source:
        assert max(source.streams.video[0].width, source.streams.video[0].height) <= 4096


def test_a_film_cut_off_anywhere_goes_on_after_its_last_whole_frame(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    unfinished, sizes = Film(path, 64, 64), []
    for index in range(6):
        unfinished.append(noise(index))
        sizes.append(path.stat().st_size)
    whole, before = path.read_bytes(), decoded(path)
    for frames in range(1, 6):
        begins, ends = sizes[frames - 1 : frames + 1]
        for cut in (begins, begins + 9, (begins + ends) // 2, ends - 1):
            path.write_bytes(whole[:cut])
            assert count_frames(path) == frames
            film = continued(path, (64, 64), 6, [])
            film.append(noise(9))
            film.close()
            after = decoded(path)
            assert len(after) == frames + 1
            assert all(np.array_equal(one, other) for one, other in zip(before[:frames], after, strict=False))


def test_frames_stand_in_for_the_end_that_a_film_lacks(tmp_path: Path) -> None:
    path, files = tmp_path / "film.mp4", []
    for index in range(6):
        files.append(tmp_path / f"{index}.png")
        Image.fromarray(picture(index, 64, 64)).save(files[-1])
    filmed(path, 4)
    before = decoded(path)
    film = continued(path, (64, 64), 6, files)
    film.close()
    assert values(path) == list(range(6))
    assert all(np.array_equal(one, other) for one, other in zip(before, decoded(path)[:4], strict=True))
    assert len(film.notes) == 1  # the old one, which is kept
    assert values(tmp_path / "film.kept-1.mp4") == list(range(4))


def test_a_film_elsewhere_is_gone_on_with_here_and_stays(tmp_path: Path) -> None:
    source, path = tmp_path / "old.mp4", tmp_path / "new.mp4"
    filmed(source, 7)
    before = source.read_bytes()
    film = continued(path, (64, 64), 5, [], source)
    film.append(picture(20, 64, 64))
    film.close()
    assert values(path) == [0, 1, 2, 3, 4, 20]
    assert source.read_bytes() == before
    assert film.notes == []
