import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from engine import frame, network
from engine.backends.plain import Eager
from engine.begin import fresh_state
from engine.config import Config
from engine.frame import BLUE, CYAN, RED, Caption, Composer, Drawing
from engine.image import Picture, Split
from engine.state import State

CONFIG = Config("x.png", "[10]*4", 1, seed=1)


def state(seed: int) -> State:
    return fresh_state(CONFIG, torch.Generator().manual_seed(seed))


def every_pixel(one: State, width: int, height: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Outputs and activation patterns in float64, pixel by pixel, by torch's own functions."""
    y, x = torch.meshgrid(torch.arange(height).double() / height, torch.arange(width).double() / width, indexing="ij")
    hidden = torch.stack((x.reshape(-1), y.reshape(-1)), 1)
    views = list(network.named_views(one.main.parameters.double(), CONFIG.network, ["0", "1", "2", "3", "4"]).values())
    patterns = []
    for index in range(0, len(views) - 2, 2):
        hidden = torch.nn.functional.linear(hidden, views[index], views[index + 1])
        patterns.append(hidden > 0)
        hidden = torch.nn.functional.leaky_relu(hidden, 0.01)
    outputs = torch.nn.functional.linear(hidden, views[-2], views[-1])
    _, regions = torch.unique(torch.cat(patterns, 1), dim=0, return_inverse=True)
    return outputs.view(height, width).numpy(), regions.view(height, width).numpy()


def neighbours_differ(regions: NDArray[np.int64]) -> NDArray[np.bool_]:
    height, width = regions.shape
    differ = np.zeros(regions.shape, bool)
    for i in range(height):
        for j in range(width):
            around = [(i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1)]
            differ[i, j] = any(regions[a, b] != regions[i, j] for a, b in around if 0 <= a < height and 0 <= b < width)
    return differ


@pytest.mark.parametrize(("width", "height"), [(61, 47), (1, 90), (90, 1), (2, 2)])
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("chunk", [131072, 37])
def test_every_pixel_is_drawn_at_its_own_place(width: int, height: int, seed: int, chunk: int) -> None:
    one = state(seed)
    drawing = frame.draw(Eager(one, CONFIG), width, height, chunk)
    outputs, regions = every_pixel(one, width, height)
    gray = np.clip(255 * outputs, 0, 255)
    # Truncation: a value within float32's rounding of a whole number may fall to either side.
    near_whole = np.abs(gray - np.rint(gray)) < 1e-3
    assert np.array_equal(drawing.gray[~near_whole], gray[~near_whole].astype(np.uint8))
    assert np.abs(drawing.gray.astype(int) - gray).max() < 1.001
    assert np.array_equal(drawing.boundaries, neighbours_differ(regions))
    assert drawing.polytopes == len(np.unique(regions))
    assert drawing.lowest == pytest.approx(outputs.min(), abs=1e-5)
    assert drawing.highest == pytest.approx(outputs.max(), abs=1e-5)


def test_tiles_cover_each_pixel_once_within_the_limit() -> None:
    for width, height, points in ((7, 5, 1), (7, 5, 7), (7, 5, 20), (100, 3, 64), (3, 100, 10**9)):
        seen = np.zeros((height, width), int)
        for tile in frame._tiles(width, height, points):
            seen[tile] += 1
            assert seen[tile].size <= points
        assert np.all(seen == 1)


def test_three_panels_with_true_colours() -> None:
    picture = Picture(np.full((40, 50), 90, np.uint8))
    split = Split(torch.tensor([39 * 50]), torch.tensor([39 * 50 + 1]))
    boundaries = np.zeros((40, 50), bool)
    boundaries[0, 49] = True  # the border can be a boundary
    drawing = Drawing(np.full((40, 50), 200, np.uint8), boundaries, 1, 0.0, 1.0)
    made = Composer(picture, split).compose(drawing, Caption(()))
    assert made.shape == (40, 150, 3)
    assert tuple(made[0, 49]) == RED
    assert tuple(made[0, 48]) == tuple(made[0, 99]) == (200, 200, 200)
    assert tuple(made[39, 100]) == RED
    assert tuple(made[39, 101]) == BLUE
    assert tuple(made[39, 149]) == (90, 90, 90)


def test_a_caption_is_written_where_it_fits_and_warns_of_a_constant() -> None:
    split = Split(torch.tensor([0]), torch.tensor([1]))
    caption = frame.caption(CONFIG, 7, (0.12345, 0.5))
    assert caption.lines[:3] == ("Epoch: 7", "Train Loss: 0.1235", "Val Loss: 0.5000")
    assert frame.caption(CONFIG, 0, None).lines[1] == "Train Loss: -"
    for side, written in ((300, True), (64, True), (8, False), (2, False)):
        picture = Picture(np.full((side, side), 90, np.uint8))
        nothing = np.zeros((side, side), bool)
        plain, constant = (
            Composer(picture, split).compose(Drawing(picture.pixels, nothing, 1, 0.0, high), caption)[:, 2 * side :]
            for high in (1.0, 0.0)
        )
        assert bool((plain > 120).all(axis=2).any()) == written
        if side == 300:
            assert (constant[:, :, 0] > constant[:, :, 2].astype(int) + 100).any()  # the colour of a warning


def test_smoothed_is_the_mean_near_points_and_cyan_far_from_any() -> None:
    pixels = np.zeros((60, 90), np.uint8)
    pixels[:, 45:] = 200
    split = Split(torch.tensor([10 * 90 + 10, 10 * 90 + 80]), torch.tensor([0]))
    made = frame.smoothed(Picture(pixels), split, sigma=2.0)
    assert made.shape == (60, 180, 3)
    assert tuple(made[10, 12]) == (0, 0, 0)
    assert tuple(made[12, 80]) == (200, 200, 200)
    assert tuple(made[50, 45]) == CYAN
    assert np.array_equal(made[:, 90:, 0], pixels)
