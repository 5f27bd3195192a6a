import errno
import threading
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from draw_poly.engine.pictures.caption import Caption
from draw_poly.engine.pictures.drawing import Drawing
from draw_poly.engine.pictures.frame import Panels, PictureComposer, film_canvas
from draw_poly.engine.record.encoder import Frame, FrameWriter, Stage
from draw_poly.engine.record.film import Film, count_frames
from draw_poly.engine.record.ledger import Due


def test_a_stage_waits_when_its_queue_is_full() -> None:
    gate, done = threading.Event(), []

    def work(item: int) -> None:
        gate.wait()
        done.append(item)

    stage: Stage[int] = Stage("test", [work])

    def put() -> None:
        for index in range(4):
            stage.put(index)

    putter = threading.Thread(target=put)
    putter.start()
    putter.join(0.2)
    assert putter.is_alive()  # one in work, one waiting, the third has no place
    assert stage.full
    gate.set()
    putter.join()
    stage.drain()
    assert done == [0, 1, 2, 3]
    stage.stop()


def test_a_stages_failure_reaches_who_puts_and_who_drains() -> None:
    def work(item: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "frame.png")

    stage: Stage[int] = Stage("test", [work])
    stage.put(1)
    with pytest.raises(OSError, match="No space"):
        stage.drain()
    with pytest.raises(OSError, match="No space"):
        stage.put(2)
    stage.stop()


def test_a_stage_of_two_works_at_two_items_at_once() -> None:
    both = threading.Barrier(2, timeout=10)

    def work(item: int) -> None:
        both.wait()

    stage: Stage[int] = Stage("test", [work, work])
    for index in range(6):
        stage.put(index)
    stage.drain()
    stage.stop()


def drawing(index: int) -> Drawing:
    """One that tells its number: its gray value."""
    gray = np.full((20, 30), 40 + 20 * index, np.uint8)
    return Drawing(gray[None], np.zeros((20, 30), np.uint8), np.empty((0, 0), np.uint8), 1, 0.0, 1.0, 0)


def put(writer: FrameWriter, index: int, path: Path) -> None:
    due = Due(index, torch.zeros(3))
    writer.ledger.add(due)
    writer.put(Frame(drawing(index), Caption(()), path, due))


SHARED = Panels(np.full((20, 30, 3), 90, np.uint8))


@pytest.mark.parametrize("format", ["png", "none"])
@pytest.mark.parametrize("filmed", [True, False])
def test_frames_reach_file_and_film_in_order(tmp_path: Path, format: str, filmed: bool) -> None:
    film = Film(tmp_path / "film.mp4", *film_canvas(30, 20)) if filmed else None
    writer = FrameWriter(SHARED, format, 90, film)
    for index in range(8):
        put(writer, index, tmp_path / f"{index}.png")
    writer.drain()
    if film:
        assert film.frames == 8
        assert count_frames(film.path) == 8  # in the file before it is closed
    writer.close()
    assert len(list(tmp_path.iterdir())) == 8 * (format == "png") + filmed
    if format == "png":
        for index in range(8):
            expected = PictureComposer(SHARED).compose(drawing(index), Caption(()))
            assert np.array_equal(np.asarray(Image.open(tmp_path / f"{index}.png")), expected)
    if film:
        with av.open(str(film.path)) as source:
            shown = [picture.to_ndarray(format="gray")[5:15, 5:55].mean() for picture in source.decode(video=0)]
        assert shown == pytest.approx([40 + 20 * index for index in range(8)], abs=3)


def test_a_writer_is_behind_while_its_film_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()
    film = Film(tmp_path / "film.mp4", *film_canvas(30, 20))
    real = film.append_planes
    monkeypatch.setattr(film, "append_planes", lambda: gate.wait() and real())
    writer = FrameWriter(SHARED, "none", 90, film)
    behind = [writer.behind]
    for index in range(2):
        put(writer, index, tmp_path / "x")
    behind.append(writer.behind)
    gate.set()
    writer.drain()
    behind.append(writer.behind)
    assert behind == [False, True, False]
    writer.close()
