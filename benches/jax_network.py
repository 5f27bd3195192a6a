"""The same training in JAX: an epoch is one compiled call, its steps a scan; gradients by `jax.grad`, Adam by hand."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from jax import lax
from torch import Tensor

from benches.contender import CHUNK, Contender
from benches.job import Job
from draw_poly.engine.model import kolmogorov
from draw_poly.kernels.spec import ADAM_BETAS, EPSILON, Network

# Signatures are sums of 64 bits, and products of a GPU must be float32's.
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_default_matmul_precision", "highest")


def layers(flat: Any, network: Network) -> list[tuple[Any, Any]]:
    """Weight (out, in) and bias (out, 1) of each layer."""
    found, start = [], 0
    for out, into in network.shapes:
        weight = flat[start : start + out * into].reshape(out, into)
        start += out * into
        found.append((weight, flat[start : start + out].reshape(out, 1)))
        start += out
    return found


def forward(flat: Any, network: Network, inputs: Any) -> Any:
    """Outputs (out, points) at inputs (in, points)."""
    *stack, (weight, bias) = layers(flat, network)
    hidden = inputs
    for inner, shift in stack:
        hidden = jax.nn.leaky_relu(inner @ hidden + shift, network.slope)
    return weight @ hidden + bias


class JaxNetwork(Contender):
    """JAX on the device that it finds, with as many threads as it likes."""

    def __init__(self, job: Job, available: int) -> None:
        super().__init__(job, available)
        state, config = job.state(), job.config
        self._draws = state.generator
        self._coefficients = jnp.asarray(state.coefficients[0].numpy())
        self._training = jnp.asarray(torch.cat(job.training).numpy())
        self._validation = jnp.asarray(torch.cat(job.validation).numpy())
        learners = [jnp.asarray(one.parameters[0].numpy()) for one in state.learners]
        first, second = ([jnp.asarray(one.moments[0, index].numpy()) for one in state.learners] for index in range(2))
        self._carry = (learners, first, second, jnp.asarray(state.main.steps, jnp.int32))
        positions = jnp.asarray(kolmogorov.positions(config.network).numpy())
        batch, term, network, rate = (
            min(job.batch, job.points),
            config.kolmogorov_term,
            config.network,
            config.learning_rate,
        )

        def objective(learners: Any, points: Any) -> Any:
            task = jnp.square(forward(learners[0], network, points[:2]) - points[2:]).mean()
            if term is None:
                return task, task
            logits = forward(learners[1], term.predictor, positions)  # (bins, P)
            clipped = jnp.clip(learners[0], term.low, term.high)
            center = (clipped - term.low) / (term.high - term.low) * (term.bins - 1)
            bins = jnp.arange(term.bins, dtype=jnp.float32)[:, None]
            target = jax.nn.softmax(-jnp.abs(center - bins) / 0.1, axis=0)
            loss = -(target * jax.nn.log_softmax(logits, axis=0)).sum(0).mean()
            return task + term.weight * loss, task

        def step(points: Any, carry: Any, order: Any) -> Any:
            learners, first, second, count = carry
            (_, task), gradients = jax.value_and_grad(objective, has_aux=True)(learners, points[:, order])
            count = count + 1
            one, two = (1 - beta ** count.astype(jnp.float32) for beta in ADAM_BETAS)
            first = [ADAM_BETAS[0] * m + (1 - ADAM_BETAS[0]) * g for m, g in zip(first, gradients, strict=True)]
            second = [ADAM_BETAS[1] * v + (1 - ADAM_BETAS[1]) * g * g for v, g in zip(second, gradients, strict=True)]
            learners = [
                p - rate / one * m / (jnp.sqrt(v) / jnp.sqrt(two) + EPSILON)
                for p, m, v in zip(learners, first, second, strict=True)
            ]
            return (learners, first, second, count), task

        def epoch(carry: Any, training: Any, order: Any, validation: Any) -> Any:
            whole = len(order) // batch * batch
            carry, losses = lax.scan(partial(step, training), carry, order[:whole].reshape(-1, batch))
            if whole < len(order):
                carry, last = step(training, carry, order[whole:])
                losses = jnp.append(losses, last)
            error = jnp.square(forward(carry[0][0], network, validation[:2]) - validation[2:]).mean()
            return carry, losses.mean(), error

        @jax.jit
        def evaluate(flat: Any, inputs: Any) -> Any:
            *stack, (weight, bias) = layers(flat, network)
            hidden, start = inputs, 0
            signatures = jnp.zeros(inputs.shape[1], jnp.int64)
            for inner, shift in stack:
                before = inner @ hidden + shift
                own = self._coefficients[start : start + len(inner), None]
                signatures += jnp.where(before > 0, own, 0).sum(0)
                start += len(inner)
                hidden = jax.nn.leaky_relu(before, network.slope)
            return weight @ hidden + bias, signatures

        self._epoch, self._evaluate = jax.jit(epoch, donate_argnums=0), evaluate
        self._of_many = jax.jit(jax.vmap(epoch, (0, None, 0, None)), donate_argnums=0)
        self._order = jnp.asarray(self._batches.numpy())

    def epoch(self) -> tuple[float, float]:
        """See `Contender.epoch`."""
        torch.empty((), dtype=torch.int64).random_(generator=self._draws)
        seed = int(torch.empty((), dtype=torch.int64).random_(generator=self._draws).item())
        order = torch.randperm(self.job.points, generator=torch.Generator().manual_seed(seed)).numpy()
        self._carry, loss, error = self._epoch(self._carry, self._training, order, self._validation)
        return float(loss), float(error)

    def steps(self) -> None:
        """See `Contender.steps`."""
        self._carry, loss, _ = self._epoch(self._carry, self._training, self._order, self._validation[:, :1])
        loss.block_until_ready()

    def population(self, members: int) -> Callable[[], None]:
        """What trains an epoch of so many networks side by side, each in an order of its own, drawn once."""
        chance = np.random.default_rng(1)
        orders = jnp.asarray(np.stack([chance.permutation(self.job.points) for _ in range(members)]))
        carry = jax.tree.map(lambda one: jnp.repeat(one[None], members, 0), self._carry)

        def train() -> None:
            nonlocal carry
            carry, loss, _ = self._of_many(carry, self._training, orders, self._validation)
            loss.block_until_ready()

        return train

    def evaluate(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """See `Contender.evaluate`."""
        parts = inputs.cpu().numpy()
        found = [
            self._evaluate(self._carry[0][0], parts[:, start : start + CHUNK])
            for start in range(0, parts.shape[1], CHUNK)
        ]
        outputs = np.concatenate([np.asarray(one) for one, _ in found], 1)
        return torch.from_numpy(outputs), torch.from_numpy(np.concatenate([np.asarray(one) for _, one in found]))

    def parameters(self) -> Tensor:
        """See `Contender.parameters`."""
        return torch.from_numpy(np.array(self._carry[0][0]))
