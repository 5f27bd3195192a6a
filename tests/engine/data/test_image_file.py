import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from draw_poly.engine.config import ConfigError
from draw_poly.engine.data.image_file import load
from draw_poly.engine.prepare import memory
from tests.conftest import Program
from tests.engine.data.image_samples import PNG_SIGNATURE, chunk, chunks, damaged, samples, written
from tests.engine.data.image_samples import RAMP as SAMPLE

RAMP = (np.arange(12 * 9) * 2 % 256).astype(np.uint8).reshape(9, 12)
SAMPLES = samples()
TURNED = Image.Exif()
TURNED[0x0112] = 6  # stands on its left side


def save(path: Path, picture: Image.Image, **words: object) -> str:
    picture.save(path, **words)  # type: ignore[arg-type]
    return str(path)


def test_gray_pixels_come_as_they_are(tmp_path: Path) -> None:
    read = load(save(tmp_path / "a.png", Image.fromarray(RAMP)))
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
        assert np.array_equal(load(save(tmp_path / name, picture)).pixels, RAMP), name
    cmyk = load(save(tmp_path / "cmyk.jpg", rgb.convert("CMYK"), quality=100))
    assert np.abs(cmyk.pixels.astype(int) - RAMP).max() < 12  # JPEG
    assert load(save(tmp_path / "bits.png", Image.fromarray(RAMP > 99))).pixels.max() == 255
    frames = [Image.fromarray(np.full_like(RAMP, value)) for value in (10, 200)]
    animated = load(save(tmp_path / "two.gif", frames[0], save_all=True, append_images=frames[1:]))
    assert np.all(animated.pixels == 10)
    assert "first of its 2 frames" in animated.notes[0]
    assert "transparency" in load(str(tmp_path / "alpha.png")).notes[0]
    assert "8 bits" in load(str(tmp_path / "sixteen.png")).notes[0]


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
            load(str(tmp_path / name))


def test_an_image_too_large_for_memory_is_refused_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "total_memory", lambda: 2**34)
    path = tmp_path / "bomb.png"
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 1, 0, 0, 0, 0)
    path.write_bytes(PNG_SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    with pytest.raises(ConfigError, match=r"60000 x 60000 pixels, needs about \d+"):
        load(str(path))


def png(*extra: tuple[bytes, bytes], after: bool = False, pixels: Image.Image | None = None) -> bytes:
    """A PNG with additional chunks before or after its pixels."""
    parts = [chunk(*part) for part in chunks(written(pixels or Image.fromarray(SAMPLE), "PNG"))]
    at = len(parts) - 1 if after else 1
    return PNG_SIGNATURE + b"".join((*parts[:at], *(chunk(*part) for part in extra), *parts[at:]))


def read(tmp_path: Path, data: bytes, name: str = "a.png") -> tuple[np.ndarray, str]:
    path = tmp_path / name
    path.write_bytes(data)
    picture = load(str(path))
    return picture.pixels, "; ".join(picture.notes)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    ("kind", "content", "said"),
    [
        (b"eXIf", b"no such thing", "EXIF"),
        (b"eXIf", b"MM\0*\0\0\0\x08\0\x09", "left aside"),
        (b"eXIf", b"", ""),
        (b"iCCP", b"", "iCCP"),
        (b"iCCP", b"name\0\x07rest", "iCCP"),
        (b"iCCP", b"name\0\0rest", ""),
        (b"tEXt", b"", ""),
        (b"zTXt", b"key\0\x01text", "zTXt"),
        (b"zTXt", b"key\0\0" + zlib.compress(bytes(2**23), 1), "zTXt"),
        (b"iTXt", b"key\0\x01", ""),
        (b"pHYs", b"\0", "pHYs"),
        (b"gAMA", b"", "gAMA"),
        (b"cHRM", b"\0", "cHRM"),
        (b"sRGB", b"", "sRGB"),
        (b"acTL", b"\0", "acTL"),
        (b"tRNS", b"", "tRNS"),
    ],
)
def test_a_sound_png_is_read_whatever_its_additional_chunks_are(
    tmp_path: Path, kind: bytes, content: bytes, said: str, after: bool
) -> None:
    pixels, notes = read(tmp_path, png((kind, content), after=after))
    assert np.array_equal(pixels, SAMPLE)
    assert said in notes or (kind == b"tRNS" and after)  # there it is out of place, and nobody reads it


def test_an_additional_chunk_whose_sum_is_wrong_is_left_aside(tmp_path: Path) -> None:
    good = png((b"tEXt", b"key\0a comment"), (b"gAMA", struct.pack(">I", 45455)))
    pixels, notes = read(tmp_path, good.replace(b"a comment", b"another c"))
    assert np.array_equal(pixels, SAMPLE)
    assert notes == "it can be read only without its chunks gAMA, tEXt, which are left aside"
    assert read(tmp_path, good)[1] == ""
    with pytest.raises(ConfigError, match="cannot be read"):
        read(tmp_path, good.replace(b"IDAT", b"IDAT\0"))


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_a_turned_image_stands_upright_and_a_broken_turn_is_left_aside(tmp_path: Path, format: str) -> None:
    words = {"lossless": True} if format == "WEBP" else {"quality": 100} if format == "JPEG" else {}
    data = written(Image.fromarray(SAMPLE), format, exif=TURNED, **words)
    pixels, notes = read(tmp_path, data)
    assert np.abs(pixels.astype(int) - np.rot90(SAMPLE, -1)).max() <= (0 if format in ("PNG", "TIFF") else 8)
    assert notes == ""
    order = b"MM\0*" if b"MM\0*" in data else b"II*\0"
    broken = data.replace(order, b"XX\0*", 1)
    if format == "TIFF":  # there it is the picture's own
        with pytest.raises(ConfigError, match="not an image"):
            read(tmp_path, broken)
        return
    if format == "PNG":  # so that the sum fits
        broken = PNG_SIGNATURE + b"".join(chunk(*part) for part in chunks(broken))
    pixels, notes = read(tmp_path, broken)
    assert np.abs(pixels.astype(int) - SAMPLE).max() <= (0 if format == "PNG" else 8)
    assert notes == "its EXIF data cannot be read and is left aside"


def test_frames_after_the_first_may_be_broken(tmp_path: Path) -> None:
    data = SAMPLES["TIFF several"]
    second = struct.unpack_from("<I", data, 4)[0]
    count = struct.unpack_from("<H", data, second)[0]
    after = second + 2 + 12 * count
    pixels, notes = read(tmp_path, data[:after] + struct.pack("<I", len(data) - 3) + data[after + 4 :])
    assert np.array_equal(pixels, SAMPLE)
    assert "after its first frame cannot be read" in notes


@contextmanager
def little_memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Where a size that damage made large is refused at once."""
    with monkeypatch.context() as patched:
        patched.setattr(memory, "total_memory", lambda: 2**26)
        yield


def survives(path: Path, data: bytes) -> bool:
    """Whether it was read; fails for anything but a picture or one sentence that names the file."""
    path.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            picture = load(str(path))
        except ConfigError as error:
            text = str(error)
            assert text.startswith(f"--input {path}")
            assert "\n" not in text
            assert len(text) < 400 + len(str(path))
            return False
    assert picture.pixels.dtype == np.uint8
    assert picture.pixels.ndim == 2
    assert picture.pixels.size
    assert picture.pixels.flags.c_contiguous
    assert all("\n" not in note for note in picture.notes)
    return True


@pytest.mark.parametrize("name", SAMPLES)
def test_every_format_is_read_and_damaged_files_end_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = tmp_path / "picture"
    with little_memory(monkeypatch):
        refused = (" F" in name and "IM" in name) or name in ("PPM F", "SPIDER F", "TIFF F")  # floating-point
        assert survives(path, SAMPLES[name]) != refused
        for data in islice(damaged(SAMPLES[name], seed=1), 8):
            survives(path, data)


@pytest.mark.slow
def test_many_damaged_files_end_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fuzz: int) -> None:
    path = tmp_path / "picture"
    with little_memory(monkeypatch):
        for name, data in SAMPLES.items():
            read = sum(survives(path, made) for made in islice(damaged(data, seed=2), fuzz))
            assert read < fuzz, name  # else nothing was damaged


def test_the_users_own_settings_of_pillow_neither_count_nor_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5)
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (99, 99), np.uint8))
    whole = written(noise, "PNG")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.array_equal(read(tmp_path, whole)[0], np.asarray(noise))
        with pytest.raises(ConfigError, match="cannot be read"):
            read(tmp_path, whole[:3000])
    assert (ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS) == (True, 5)


def test_a_broken_file_is_one_sentence_of_the_program(program: Program, tmp_path: Path) -> None:
    path = tmp_path / "broken.dds"
    data = bytearray(SAMPLES["DDS RGB"])
    data[80:84] = bytes(4)  # flags that Pillow does not implement
    path.write_bytes(data)
    outcome = program("-i", path)
    assert outcome.status == 2
    assert f"--input {path}: the image cannot be read (Unknown pixel format flags 0)\n" in outcome.log
