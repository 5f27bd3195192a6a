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
    made, _ = job.ours("eager")
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
