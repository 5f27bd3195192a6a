import numpy as np
import pytest
import torch

from draw_poly.engine.config import ConfigError
from draw_poly.engine.data import image
from draw_poly.kernels import shuffle

RAMP = (np.arange(12 * 9) * 2 % 256).astype(np.uint8).reshape(9, 12)


@pytest.mark.parametrize("large", [False, True])
def test_the_split_is_the_originals_shuffle(large: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in ("FEWEST_ONCE", "FEWEST", "RARE") if large else ():
        monkeypatch.setattr(shuffle, limit, 1)
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
