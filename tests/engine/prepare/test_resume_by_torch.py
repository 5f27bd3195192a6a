"""Checkpoints as PyTorch's own optimisers go on from them."""

from pathlib import Path

import torch

from draw_poly.kernels.spec import OPTIMIZERS
from tests.conftest import Program
from tests.engine.prepare.test_resume import content, newest


def test_torch_optim_goes_on_from_our_checkpoints(program: Program, tmp_path: Path) -> None:
    for kind, record in OPTIMIZERS.items():
        assert program("--optimizer", kind, "--seed", 1, folder=kind).status == 0
        stored = content(newest(tmp_path / kind))
        values = [
            value.clone().requires_grad_() for name, value in stored["model_state_dict"].items() if "network" in name
        ]
        if record.torch_name is None:
            continue
        optimizer = getattr(torch.optim, record.torch_name)(values, lr=1.0)
        optimizer.load_state_dict(stored["optimizer_state_dict"])
        for value in values:
            value.grad = torch.ones_like(value)
        optimizer.step()
        assert optimizer.param_groups[0]["lr"] == 0.001
        assert optimizer.param_groups[0].get("momentum", 0) == (0.9 if "momentum" in record.options else 0)
