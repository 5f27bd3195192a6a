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
        rest = OPTIMIZERS[record.rest] if record.rest else None
        if record.torch_name is None:
            continue
        matrices = [value for value in values if value.ndim == 2] if rest else values
        others = [value for value in values if value.ndim != 2] if rest else []
        for one, tensors in ((record, matrices), (rest, others)):
            if one is None:
                continue
            assert one.torch_name
            optimizer = getattr(torch.optim, one.torch_name)(tensors, lr=1.0)
            state = stored["optimizer_state_dict"]
            optimizer.load_state_dict(state[one.name] if rest else state)
            before = [value.detach().clone() for value in tensors]
            for value in tensors:
                value.grad = torch.ones_like(value)
            optimizer.step()
            assert all((value != old).any() for value, old in zip(tensors, before, strict=True))
            assert optimizer.param_groups[0]["lr"] == 0.001
            momentum = {"sgd_momentum": 0.9, "muon": 0.95}.get(one.name, 0)
            assert optimizer.param_groups[0].get("momentum", 0) == momentum
