"""What the benchmarks compare is the same work: the baseline's gradients are the reference's."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benches import verify
from benches.contenders import Ours
from benches.job import Job
from kernels import reference

ROOT = Path(__file__).parents[1]


def test_the_baseline_computes_our_losses_and_gradients() -> None:
    job = Job(bins=32)
    state, baseline, code = job.state(), job.baseline(), job.config.code_length
    assert state.predictor
    assert code
    assert baseline.predictor
    inputs, targets = (tensor[:, :333] for tensor in job.training)
    made = Ours(job, 1, "eager").backend
    assert made.positions is not None
    gradient, to_predictor = torch.empty_like(state.main.parameters), torch.empty_like(state.predictor.parameters)
    stacks = [reference.layers(one.parameters, one.network) for one in state.learners]
    out = [reference.layers(gradient, state.main.network), reference.layers(to_predictor, code.predictor)]
    task_loss = reference.task_gradient(stacks[0], inputs, targets, 0.01, out[0])
    total, addition = reference.code_gradient(state.main.parameters, stacks[1], made.positions, code, out[1])
    losses = [task_loss, total / 811]
    gradient += addition * code.weight / 811
    to_predictor *= code.weight / 811
    outputs, signatures = baseline.module(inputs.t())
    task = torch.nn.functional.mse_loss(outputs, targets.t())
    flat = torch.cat([parameter.reshape(-1) for parameter in baseline.module.parameters()])
    term = baseline.predictor.loss(flat)
    (task + code.weight * term).backward()
    torch.testing.assert_close(torch.stack(losses), torch.stack((task, term)).detach())
    for module, ours in ((baseline.module, gradient), (baseline.predictor, to_predictor)):
        theirs = torch.cat([p.grad.reshape(-1) for p in module.parameters() if p.grad is not None])
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)
    assert torch.equal(signatures, made.evaluate(inputs)[1])


@pytest.mark.slow
def test_the_gpu_benchmark_checks_every_kernel_and_writes_its_figures(tmp_path: Path) -> None:
    pytest.importorskip("triton")
    if torch.cuda.is_available():
        pytest.skip("the interpreter is for machines without a GPU")
    command = [sys.executable, "-m", "benches.gpu", "--small", "--json", str(tmp_path / "gpu.json")]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "TRITON_INTERPRET": "1"}, check=True, capture_output=True)
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert len(found["checks"]) > 80
    assert all(row["passed"] for row in found["checks"])
    assert {"step [10]*8, 1024", "evaluate [10]*8, 256"} <= set(found["microseconds"])
    assert {"ours", "original's way"} <= set(found["epoch"]["microseconds"])


def test_a_wrong_or_unwritten_output_is_found_wrong() -> None:
    assert verify.Row("kernel", "case", "output", 2e-6, 1e-7, 1e-6).passed is False
    assert verify.Row("kernel", "case", "output", float("nan"), 1e-7, 1e-6).passed is False
    assert verify.Row("kernel", "case", "output", 9e-7, 1e-7, 1e-6).passed is True
