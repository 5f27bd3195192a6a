import errno
import io
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from engine import encoder
from engine.encoder import FrameWriter, PictureEncoder, Stage, write_whole
from engine.film import Film
from engine.frame import Caption, Composer, Drawing
from engine.image import Picture, Split

PIXELS = np.random.default_rng(0).integers(0, 255, (37, 111, 3), np.uint8)


def test_png_is_lossless_and_jpg_is_near() -> None:
    one = PictureEncoder("png")
    for pixels in (PIXELS, PIXELS[::-1].copy()):
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(one.encode(pixels)))), pixels)
    smooth = np.full((40, 60, 3), (200, 30, 90), np.uint8)
    read = np.asarray(Image.open(io.BytesIO(PictureEncoder("jpg", 95).encode(smooth)))).astype(int)
    assert np.abs(read - smooth).max() < 6
    sizes = [len(PictureEncoder("jpg", quality).encode(PIXELS)) for quality in (20, 95)]
    assert sizes[0] < sizes[1]


def test_png_of_a_picture_that_ffmpeg_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder, "LARGEST_PNG", 10)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(PictureEncoder("png").encode(PIXELS)))), PIXELS)


def test_a_stage_waits_when_its_queue_is_full() -> None:
    gate, done = threading.Event(), []

    def work(item: int) -> None:
        gate.wait()
        done.append(item)

    stage: Stage[int] = Stage("test", work)

    def put() -> None:
        for index in range(4):
            stage.put(index)

    putter = threading.Thread(target=put)
    putter.start()
    putter.join(0.2)
    assert putter.is_alive()  # one in work, one waiting, the third has no place
    gate.set()
    putter.join()
    stage.drain()
    assert done == [0, 1, 2, 3]
    stage.stop()


def test_a_stages_failure_reaches_who_puts_and_who_drains() -> None:
    def work(item: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "frame.png")

    stage: Stage[int] = Stage("test", work)
    stage.put(1)
    with pytest.raises(OSError, match="No space"):
        stage.drain()
    with pytest.raises(OSError, match="No space"):
        stage.put(2)
    stage.stop()


def test_frames_reach_file_and_film(tmp_path: Path) -> None:
    picture = Picture(np.full((20, 30), 90, np.uint8))
    drawing = Drawing(picture.pixels, np.zeros((20, 30), bool), 1, 0.0, 1.0)
    composer = Composer(picture, Split(torch.tensor([0]), torch.tensor([1])))
    film = Film(tmp_path / "film.mp4", 90, 20)
    writer = FrameWriter(composer, PictureEncoder("png"), film)
    for index in range(5):
        writer.put(drawing, Caption(()), tmp_path / f"{index}.png")
    writer.drain()
    assert film.frames == 5
    expected = composer.compose(drawing, Caption(()))
    assert all(np.array_equal(np.asarray(Image.open(tmp_path / f"{index}.png")), expected) for index in range(5))
    writer.close()
    assert len(list(tmp_path.iterdir())) == 6


def test_a_failed_write_leaves_the_old_file_and_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_whole(path, b"old")

    def full(self: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device", str(self))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
