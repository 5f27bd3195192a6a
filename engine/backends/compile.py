"""The reference under `torch.compile`: a step at a call on a CPU, an epoch in one replay on a GPU."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from draw_poly.engine.backends import reference as plain
from draw_poly.engine.backends.base import Backend, Data, Member, Scalars, flushing, side_by_side
from draw_poly.engine.backends.cuda_graph import Buffers, Graphed, Step, Window
from draw_poly.engine.config import Config
from draw_poly.engine.model.state import State
from draw_poly.kernels import reference


class Compiled(Backend):
    """The reference's step, gradient and evaluation as the compiler makes them, whatever takes the steps."""

    name = "compile"
    # The compiler's, apart from its defaults.
    options: ClassVar[dict[str, Any]]

    def __init__(self, state: State, config: Config, weights: Sequence[float] | None = None) -> None:
        super().__init__(state, config, weights)
        term, positions, network, optimizers = self.term, self.positions, state.main.network, state.optimizers
        networks = self.networks
        # Tensors: numbers would be compiled as constants.
        shares = torch.tensor([one.share for one in self._members], dtype=torch.float32, device=self.device).unbind(0)
        self._members = [one._replace(share=share) for one, share in zip(self._members, shares, strict=True)]

        def differentiate(
            parameters: list[Tensor], inputs: Tensor, targets: Tensor, share: reference.Scalar
        ) -> tuple[list[Tensor], list[Tensor]]:
            stacks = [reference.layers(flat, one) for flat, one in zip(parameters, networks, strict=True)]
            out = [[(torch.empty_like(weight), torch.empty_like(bias)) for weight, bias in stack] for stack in stacks]
            losses, addition = reference.differentiate(
                network, term, stacks, parameters[0], positions, inputs, targets, out
            )
            # Joined rather than written as views of one vector, which the compiler would copy a layer at a time.
            gradients = [torch.cat([part.view(-1) for layer in one for part in layer]) for one in out]
            reference.weigh(share, gradients, addition)
            return losses, gradients

        def step(
            parameters: list[Tensor], moments: list[Tensor], inputs: Tensor, targets: Tensor, share: reference.Scalar,
            scalars: Scalars,
        ) -> list[Tensor]:  # fmt: skip
            losses, gradients = differentiate(parameters, inputs, targets, share)
            reference.update_one(optimizers, parameters, moments, gradients, scalars, networks)
            return losses

        def evaluate(parameters: Tensor, coefficients: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor]:
            return reference.evaluate_one(
                reference.layers(parameters, network), coefficients, inputs, network.activation
            )

        self._compiled_step = torch.compile(step, fullgraph=True, dynamic=False, options=self.options)
        self._compiled_gradient = torch.compile(differentiate, fullgraph=True, dynamic=False, options=self.options)
        self._compiled_evaluate = torch.compile(evaluate, fullgraph=True, dynamic=True, options=self.options)

    def step(self, member: Member, inputs: Tensor, targets: Tensor, scalars: Scalars) -> list[Tensor]:
        """See `Stepwise.step`; the scalars are tensors: numbers would be compiled as constants."""
        return self._compiled_step(member.parameters, member.moments, inputs, targets, member.share, scalars)

    @flushing
    def gradient(self, inputs: Tensor, targets: Tensor, gradients: Sequence[Tensor], losses: Tensor) -> None:
        """See `Backend.gradient`."""
        for index, member in enumerate(self._members):
            found, ours = self._compiled_gradient(member.parameters, inputs[index], targets[index], member.share)
            torch.stack(found, out=losses[index])
            for wanted, flat in zip(gradients, ours, strict=True):
                wanted[index].copy_(flat)

    @flushing
    def evaluate(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """See `Backend.evaluate`."""
        trios = zip(self.state.main.parameters, self.state.coefficients, inputs, strict=True)
        return side_by_side([self._compiled_evaluate(*one) for one in trios])


class Compile(Compiled, plain.Stepwise):
    """On a CPU."""

    # The C++ wrapper takes the host's share out of a step of a hundred small operations.
    options: ClassVar[dict[str, Any]] = {"cpp_wrapper": True}

    def scalars(self, steps: int) -> Sequence[Sequence[Scalars]]:
        """See `Stepwise.scalars`."""
        table = torch.from_numpy(self._step_numbers(steps)).float()
        # Numbers of their own: a row that begins within a table was seen to be read elsewhere.
        return [[row.unbind(0) for row in rows.unbind(0)] for rows in table.unbind(0)]


class CompileOnGpu(Compiled, Graphed):
    """On a GPU. What a step makes on its way lies in the graph's own memory."""

    # Whose graphs cannot be captured in ours.
    options: ClassVar[dict[str, Any]] = {"triton.cudagraphs": False}
    tile = 1  # a GPU evaluates all pixels sooner than it sorts out which
    most_captured = 256  # of some hundred kernels each

    @classmethod
    def try_out(cls, config: Config, device: torch.device) -> None:
        """See `Backend.try_out`; a compiled sum tells of the compiler, where a step would take it half a minute."""
        torch.compile(torch.add, options=cls.options)(torch.ones(8, device=device), 1).sum().item()

    def stepper(self, data: Data) -> Step:
        """See `Graphed.stepper`."""

        def step(points: Tensor, scalars: Tensor, losses: Tensor) -> None:
            for index, member in enumerate(self._members):
                batch = data.training[index].index_select(1, points[index])
                found = self.step(member, batch[:2], batch[2:], scalars[index].unbind(0))
                torch.stack(found, out=losses[index])

        return step

    def _capture(self, buffers: Buffers, window: Window) -> None:
        # The compiler at work would be captured in part, on some devices without an error.
        with torch.compiler.set_stance("fail_on_recompile"):
            super()._capture(buffers, window)
