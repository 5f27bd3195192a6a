"""What a network draws, how wrong it is, and what the rest takes; what others make of the same error."""

import io
import math

import numpy as np
import pytest
import torch
from PIL import Image

from draw_poly.engine.backends.reference import Eager
from draw_poly.engine.code import picture, rivals
from draw_poly.engine.code.picture import Error, bits_of_the_rest, drawn, error
from draw_poly.engine.config import Config
from draw_poly.engine.pictures.select import rasterizer_for
from draw_poly.engine.training.fresh import fresh_state
from draw_poly.kernels.spec import Network

GENERATOR = np.random.default_rng(0)


def smooth(height: int = 60, width: int = 80) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    waves: np.ndarray = 127 + 60 * np.sin(x / 9) + 60 * np.cos(y / 7)
    return waves.astype(np.uint8)


def test_the_picture_is_a_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture, "AT_ONCE", 200)
    state = fresh_state(config := Config("x", "[6]*3", 1), torch.Generator().manual_seed(2))
    frame = rasterizer_for(Eager(state, config), 37, 23, 10**6).draw().gray
    found = drawn(config.network, state.main.parameters[0].numpy(), (37, 23))
    assert np.abs(found.astype(int) - frame).max() <= 1
    assert (found != frame).mean() < 0.01


def test_several_outputs_are_channels() -> None:
    network = Network((2, 4, 3))
    parameters = GENERATOR.normal(size=network.size).astype(np.float32)
    found = drawn(network, parameters, (9, 5))
    assert found.shape == (5, 9, 3)
    one = np.concatenate((parameters[:12], parameters[16:20], parameters[25:26]))  # the second output's
    assert (drawn(Network((2, 4, 1)), one, (9, 5)) == found[..., 1]).all()


def test_an_error_is_that_of_gray_values() -> None:
    black, gray = np.zeros((2, 3), np.uint8), np.full((2, 3), 51, np.uint8)
    assert error(black, gray).squared == pytest.approx(0.04)
    assert error(black, gray).decibels == pytest.approx(-10 * math.log10(0.04))
    assert error(gray, gray).decibels == math.inf


def test_the_rest_takes_what_its_code_takes_value_by_value() -> None:
    image, pixels = (GENERATOR.integers(0, high, (7, 9)).astype(np.uint8) for high in (9, 256))
    counts, bits = np.full(256, 0.5), 0.0
    for value in ((image.astype(int) - pixels) % 256).reshape(-1):
        bits -= math.log2(counts[value] / counts.sum())
        counts[value] += 1
    assert bits_of_the_rest(pixels, image) == pytest.approx(bits)


def test_who_compresses_the_bins_is_given_them() -> None:
    symbols = np.tile(np.arange(50), 100)
    found = rivals.weights(symbols, 256)
    assert found["float16"] == 16 * 5000
    assert found["zlib of the bins"] < 8 * 5000 > found["lzma of the bins"]
    assert rivals.weights(symbols, 1000)["float16"] == 16 * 5000


@pytest.mark.parametrize("most", [1e-1, 1e-2, 1e-3, 1e-4])
def test_a_lossy_image_is_as_wrong_or_less_and_no_shorter_one_is(most: float) -> None:
    image = smooth()
    found = rivals.lossy(image, Error(most))
    assert set(found) == {"JPEG", "WebP"}
    for name, (bits, missed) in found.items():
        assert missed.squared <= most
        for quality in range(0, 101, 10):
            content = io.BytesIO()
            Image.fromarray(image).save(content, name, quality=quality, **rivals.FORMATS[name])
            wrong = error(np.asarray(Image.open(content).convert("L")), image)
            assert 8 * len(content.getvalue()) >= bits or wrong.squared > most


def test_an_error_that_no_quality_reaches_is_left_out() -> None:
    assert rivals.lossy(GENERATOR.integers(0, 256, (40, 40)).astype(np.uint8), Error(0.0)) == {}
    assert rivals.png(smooth()) < 8 * smooth().size
