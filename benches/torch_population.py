"""A population in PyTorch: `torch.func.vmap` of the plain network's loss and gradient, compiled, and Adam by hand."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import grad_and_value, vmap

from benches.job import Job
from benches.plain import plain_forward
from draw_poly.kernels.spec import ADAM_BETAS, EPSILON


def population(job: Job, members: int) -> Callable[[], None]:
    """What trains an epoch of so many networks side by side, each in an order of its own, drawn once."""
    state, network, rate = job.state(), job.config.network, job.config.learning_rate
    points = torch.cat(job.training)

    def loss(flat: Tensor, batch: Tensor) -> Tensor:
        return torch.nn.functional.mse_loss(plain_forward(flat, network, batch[:2]), batch[2:])

    def step(flats: Tensor, first: Tensor, second: Tensor, batches: Tensor, rates: Tensor) -> tuple[Tensor, ...]:
        gradients, losses = vmap(grad_and_value(loss))(flats, batches)
        first = torch.lerp(gradients, first, ADAM_BETAS[0])
        second = torch.lerp(gradients * gradients, second, ADAM_BETAS[1])
        flats = flats - rates[0] * first / (second.sqrt() / rates[1] + EPSILON)
        return flats, first, second, losses

    compiled = torch.compile(step, dynamic=False)
    flats = state.main.parameters.repeat(members, 1)
    first, second, count = torch.zeros_like(flats), torch.zeros_like(flats), 0
    orders = torch.stack(
        [torch.randperm(job.points, generator=torch.Generator().manual_seed(n)) for n in range(members)]
    )

    def train() -> None:
        nonlocal flats, first, second, count
        for places in orders.split(job.batch, 1):
            count += 1
            one, two = (1 - beta**count for beta in ADAM_BETAS)
            batches = points[:, places].movedim(0, 1).contiguous()  # (members, 3, batch)
            flats, first, second, _ = compiled(flats, first, second, batches, torch.tensor((rate / one, two**0.5)))

    return train
