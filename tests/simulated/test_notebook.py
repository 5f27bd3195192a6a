"""A notebook that trains on simulated devices, one after the other: its own device stays current."""

import numpy as np
import torch

from draw_poly.engine.config import Config
from draw_poly.engine.training.training import Training
from tests.conftest import INTERPRETED
from tests.simulated import Machine

pytestmark = INTERPRETED


def test_a_notebook_trains_on_any_device_and_finds_its_own_current(cuda: Machine) -> None:
    def trained(device: str) -> list[object]:
        config = Config("x", "[4]*2", 4, points=40, batch_size=16, seed=1, backend="triton", device=device)
        training = Training.fresh(config, np.arange(144, dtype=np.uint8).reshape(12, 12))
        found: list[object] = []
        for finished in training:
            assert torch.cuda.current_device() == ours
            found.append((finished.epoch.combined, finished.epoch.validation))
        assert torch.cuda.current_device() == ours
        return [*found, training.parameters.tolist()]

    ours = 0
    second = trained("cuda:1")
    assert not cuda.devices[0].touched
    assert trained("cuda:0") == second
    ours = 1
    torch.cuda.set_device(ours)
    assert trained("cuda:0") == second
    assert cuda.replays == 9
