import errno
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from draw_poly.engine.record.picture_file import PictureWriter

PIXELS = np.random.default_rng(0).integers(0, 255, (37, 111, 3), np.uint8)


@pytest.mark.parametrize("size", [(37, 111), (1, 1), (1, 9), (9, 1), (500, 700)])
def test_png_is_lossless_whatever_the_size(tmp_path: Path, size: tuple[int, int]) -> None:
    path, one = tmp_path / "a.png", PictureWriter("png")
    for seed in range(2):
        pixels = np.random.default_rng(seed).integers(0, 255, (*size, 3), np.uint8)
        for content in (pixels, pixels[::-1].copy(), pixels // 200):
            one.write(path, content)
            with Image.open(path) as read:
                read.verify()
            assert np.array_equal(np.asarray(Image.open(path)), content)


def test_one_writer_takes_pictures_of_different_sizes(tmp_path: Path) -> None:
    one = PictureWriter("png")
    for content in (PIXELS, PIXELS[:9, :8].copy(), PIXELS):
        one.write(tmp_path / "a.png", content)
        assert np.array_equal(np.asarray(Image.open(tmp_path / "a.png")), content)


def test_jpg_is_near_and_follows_its_quality(tmp_path: Path) -> None:
    smooth = np.full((40, 60, 3), (200, 30, 90), np.uint8)
    PictureWriter("jpg", 95).write(tmp_path / "a.jpg", smooth)
    assert np.abs(np.asarray(Image.open(tmp_path / "a.jpg")).astype(int) - smooth).max() < 6
    for quality in (20, 95):
        PictureWriter("jpg", quality).write(tmp_path / f"{quality}.jpg", PIXELS)
    assert (tmp_path / "20.jpg").stat().st_size < (tmp_path / "95.jpg").stat().st_size


@pytest.mark.parametrize("format", ["png", "jpg"])
def test_a_failed_picture_leaves_the_old_file_and_no_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: str
) -> None:
    path = tmp_path / "a"
    PictureWriter(format).write(path, PIXELS)
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "elsewhere")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="No space") as failure:
        PictureWriter(format).write(path, PIXELS[::-1].copy())
    assert failure.value.filename == str(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
