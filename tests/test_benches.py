"""What the benchmarks compare is the same work: the baseline's gradients are the reference's."""

import torch

from benches.epoch import Job
from kernels import reference


def test_the_baseline_computes_our_losses_and_gradients() -> None:
    job = Job(bins=32)
    state, baseline, code = job.state(), job.baseline(), job.config.code_length
    assert state.predictor
    assert code
    assert baseline.predictor
    inputs, targets = (tensor[:, :333] for tensor in job.training)
    made, _ = job.ours("eager", 1)
    losses, gradient, to_predictor = reference.gradient(
        state.main.parameters,
        reference.layers(state.main.parameters, state.main.network),
        reference.layers(state.predictor.parameters, code.predictor),
        made.positions,
        inputs,
        targets,
        0.01,
        code,
    )
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
