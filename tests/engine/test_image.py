from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from engine import image, memory
from engine.config import ConfigError

RAMP = (np.arange(12 * 9) * 2 % 256).astype(np.uint8).reshape(9, 12)


def save(path: Path, picture: Image.Image, **words: object) -> str:
    picture.save(path, **words)  # type: ignore[arg-type]
    return str(path)


def test_gray_pixels_come_as_they_are(tmp_path: Path) -> None:
    read = image.load(save(tmp_path / "a.png", Image.fromarray(RAMP)))
    assert np.array_equal(read.pixels, RAMP)
    assert (read.width, read.height, read.notes) == (12, 9, ())


def test_every_common_kind_of_image_works(tmp_path: Path) -> None:
    gray = Image.fromarray(RAMP)
    rgb = Image.merge("RGB", (gray, gray, gray))
    kinds = {
        "rgb.png": rgb,
        "alpha.png": rgb.convert("RGBA"),
        "gray_alpha.png": gray.convert("LA"),
        "palette.png": gray.convert("P"),
        "sixteen.png": Image.fromarray(RAMP.astype(np.uint16) * 257),
        "tiff.tif": gray,
    }
    for name, picture in kinds.items():
        assert np.array_equal(image.load(save(tmp_path / name, picture)).pixels, RAMP), name
    cmyk = image.load(save(tmp_path / "cmyk.jpg", rgb.convert("CMYK"), quality=100))
    assert np.abs(cmyk.pixels.astype(int) - RAMP).max() < 12  # JPEG
    assert image.load(save(tmp_path / "bits.png", Image.fromarray(RAMP > 99))).pixels.max() == 255
    frames = [Image.fromarray(np.full_like(RAMP, value)) for value in (10, 200)]
    animated = image.load(save(tmp_path / "two.gif", frames[0], save_all=True, append_images=frames[1:]))
    assert np.all(animated.pixels == 10)
    assert "first of its 2 frames" in animated.notes[0]
    assert "transparency" in image.load(str(tmp_path / "alpha.png")).notes[0]
    assert "8 bits" in image.load(str(tmp_path / "sixteen.png")).notes[0]


def test_what_is_no_image_is_refused_in_a_sentence(tmp_path: Path) -> None:
    whole = Path(
        save(tmp_path / "whole.png", Image.fromarray(np.random.default_rng(0).integers(0, 255, (99, 99), np.uint8)))
    )
    (tmp_path / "cut.png").write_bytes(whole.read_bytes()[:3000])
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("no image")
    save(tmp_path / "float.tif", Image.fromarray(np.zeros((3, 3), np.float32)))
    cases = {
        "cut.png": "cannot be read",
        "empty.png": "is empty",
        "text.png": "not an image",
        "gone.png": "no such file",
        "float.tif": "floating-point",
        ".": "not a file",
    }
    for name, said in cases.items():
        with pytest.raises(ConfigError, match=said):
            image.load(str(tmp_path / name))


def test_an_image_too_large_for_memory_is_refused_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "total_memory", lambda: 2**34)
    path = tmp_path / "bomb.png"
    Image.new("1", (60_000, 60_000)).save(path)
    with pytest.raises(ConfigError, match=r"60000 x 60000 pixels, needs about \d+"):
        image.load(str(path))


def test_the_split_is_the_originals_shuffle() -> None:
    picture = image.Picture(RAMP)
    rows = np.array([(j / 12, i / 9, np.float32(RAMP[i, j]) / 255) for i in range(9) for j in range(12)])
    np.random.seed(5)
    np.random.shuffle(rows)
    split = image.split(picture, 50, 20, np.random.RandomState(5))
    for indices, expected in ((split.training, rows[:50]), (split.validation, rows[50:70])):
        inputs, targets = image.samples(picture, indices)
        assert inputs.dtype == targets.dtype == torch.float32
        assert torch.equal(torch.cat((inputs, targets)).t(), torch.from_numpy(expected).float())


def test_validation_takes_what_is_left_and_needs_one_pixel() -> None:
    picture = image.Picture(RAMP)
    assert image.split(picture, 100, 50, np.random.RandomState(0)).validation.numel() == 8
    with pytest.raises(ConfigError, match=r"--points was 108.*give at most 107"):
        image.split(picture, 108, 50, np.random.RandomState(0))
    with pytest.raises(ConfigError, match="1 x 1 = 1 pixel: two are needed"):
        image.split(image.Picture(RAMP[:1, :1]), 1, 1, np.random.RandomState(0))


def test_the_digest_tells_content_and_size() -> None:
    flat = RAMP.reshape(12, 9)
    assert image.Picture(RAMP).digest == image.Picture(RAMP.copy()).digest
    assert len({image.Picture(p).digest for p in (RAMP, flat, RAMP + 1)}) == 3
