from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from draw_poly.engine.data.contrast import histogram
from draw_poly.engine.data.image_file import load
from tests.conftest import Program

DRAWS = np.random.default_rng(0)


def notes(tmp_path: Path, picture: Image.Image, name: str = "a.png") -> str:
    path = tmp_path / name
    picture.save(path)
    return "; ".join(load(str(path)).notes)


def deep(lowest: int, highest: int) -> Image.Image:
    return Image.fromarray(np.linspace(lowest, highest, 96 * 64).reshape(64, 96).astype(np.uint16))


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_a_deep_image_that_trains_on_black_says_its_range_and_what_to_do(tmp_path: Path, name: str) -> None:
    said = notes(tmp_path, deep(0, 251), name)
    assert "its values go from 0 to 251 of 65535, which leaves 1 of 256 gray levels: stretch them first" in said
    assert "from 0 to 4095 of 65535, which leaves 16 of 256 gray levels" in notes(tmp_path, deep(0, 4095), name)
    assert "from 17 to 3000 of 65535, which leaves 12 of 256 gray levels" in notes(tmp_path, deep(17, 3000), name)
    assert notes(tmp_path, deep(0, 16383), name) == "its values are brought down to 8 bits"


def test_whole_numbers_of_32_bits_are_told_likewise(tmp_path: Path) -> None:
    said = notes(tmp_path, Image.fromarray(np.arange(96 * 64, dtype=np.int32).reshape(64, 96) % 252), "a.tif")
    assert "its values go from 0 to 251 of 65535" in said


def test_an_image_of_little_contrast_says_so(tmp_path: Path) -> None:
    assert "every pixel of it has the gray value 90: there is nothing to learn" in notes(
        tmp_path, Image.new("L", (9, 9), 90)
    )
    faint = Image.fromarray(DRAWS.integers(100, 111, (60, 60), np.uint8))
    assert "its gray values go from 100 to 110 of 255: stretch them first" in notes(tmp_path, faint)
    assert notes(tmp_path, Image.fromarray(DRAWS.integers(100, 140, (60, 60), np.uint8))) == ""
    assert notes(tmp_path, Image.fromarray(DRAWS.random((60, 60)) > 0.5)) == ""  # two values far apart


@pytest.mark.parametrize("bright", [0, 1, 4, 40])
def test_a_few_outliers_do_not_hide_it(tmp_path: Path, bright: int) -> None:
    """As hot pixels in a picture of stars do."""
    values = DRAWS.integers(0, 252, (100, 100)).astype(np.uint16)
    values.reshape(-1)[:bright] = 65535
    said = notes(tmp_path, Image.fromarray(values))
    if bright == 0:
        assert "from 0 to 251 of 65535" in said
    elif bright == 40:
        assert said == "its values are brought down to 8 bits"
    else:
        assert "99.9% of its pixels have gray values from 0 to 0 of 255, and few points will show another" in said


def test_every_pixel_is_counted() -> None:
    values = DRAWS.integers(0, 250, (77, 130), np.uint8)
    np.testing.assert_array_equal(histogram(values), np.bincount(values.reshape(-1), minlength=256))


def test_one_pixel_in_a_thousand_does_not_count(tmp_path: Path) -> None:
    values = np.full((40, 40), 8, np.uint8)
    values[0, 0] = 200
    assert "gray values from 8 to 8 of 255" not in notes(tmp_path, Image.fromarray(values[:20]))  # one in 800
    values = np.full((60, 60), 8, np.uint8)
    values[59, 59] = 200
    assert "gray values from 8 to 8 of 255" in notes(tmp_path, Image.fromarray(values))


def test_a_picture_that_lies_in_its_transparency_says_so(tmp_path: Path) -> None:
    alpha = Image.fromarray(DRAWS.integers(0, 256, (30, 30), np.uint8))
    icon = Image.merge("RGBA", (*(Image.new("L", (30, 30)),) * 3, alpha))
    assert "every pixel of it has the gray value 0: flatten it onto a background first" in notes(tmp_path, icon)
    noise = Image.fromarray(DRAWS.integers(0, 256, (30, 30), np.uint8))
    for bands in (("L", "L"), ("RGB", "RGB")):
        unseen = noise.convert(bands[1]).convert({"L": "LA", "RGB": "RGBA"}[bands[0]])
        unseen.putalpha(0)
        assert "every pixel of it is transparent, and what is learnt lies unseen beneath" in notes(tmp_path, unseen)
        unseen.putalpha(255)
        assert notes(tmp_path, unseen) == "its transparency is ignored"
    palette = noise.convert("P")
    palette.info["transparency"] = bytes(256)
    assert "every pixel of it is transparent" in notes(tmp_path, palette)


def test_a_run_warns_and_goes_on(program: Program, tmp_path: Path) -> None:
    path = tmp_path / "dark.png"
    deep(0, 251).save(path)
    outcome = program("-i", path, "-e", 1)
    assert outcome.status == 0
    assert f"WARNING - {path}: its values go from 0 to 251 of 65535" in outcome.log
