import numpy as np
import pytest
import torch

from draw_poly.engine.data.image import Picture, Split
from draw_poly.engine.record.smoothed import CYAN, smoothed


def test_smoothed_is_the_mean_near_points_and_cyan_far_from_any() -> None:
    pixels = np.zeros((60, 90), np.uint8)
    pixels[:, 45:] = 200
    split = Split(torch.tensor([10 * 90 + 10, 10 * 90 + 80]), torch.tensor([0]))
    made = smoothed(Picture(pixels), split, 2.0, (90, 60))
    assert made.shape == (60, 180, 3)
    assert tuple(made[10, 12]) == (0, 0, 0)
    assert tuple(made[12, 80]) == (200, 200, 200)
    assert tuple(made[50, 45]) == CYAN
    assert np.array_equal(made[:, 90:, 0], pixels)


def test_a_large_image_is_smoothed_at_the_size_of_its_frames() -> None:
    y, x = np.mgrid[:120, :180]
    picture = Picture((x + y // 2).astype(np.uint8))
    every = torch.arange(120 * 180)
    whole, small = (smoothed(picture, Split(every, every[:1]), 8.0, size) for size in ((180, 120), (60, 40)))
    assert small.shape == (40, 120, 3)
    # Away from the borders, where the sums of both end differently.
    assert small[10:-10, 10:50, 0] == pytest.approx(whole[1::3, 1:180:3, 0][10:-10, 10:50], abs=2)
