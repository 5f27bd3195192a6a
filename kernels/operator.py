"""The fused network as a differentiable operator of PyTorch's library, for other programs' models.

    from draw_poly.kernels.operator import mlp

    outputs = mlp(parameters, coordinates, widths=(10,) * 8, outputs=1)     # (1, points) of (2, points)

Its order of parameters is `kernels.spec.Network`'s. On a GPU that the Triton kernels support, forward is one launch and
backward two; elsewhere it is `kernels.reference`.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from draw_poly.kernels import reference
from draw_poly.kernels.spec import Network, leaky_relu
from draw_poly.kernels.support import unsupported_on_gpu

SLOPE = 0.01
HALF, WHOLE = (torch.float16, torch.bfloat16), (torch.float32, torch.float64)


def mlp(
    parameters: Tensor, coordinates: Tensor, widths: Sequence[int], outputs: int = 1, slope: float = SLOPE
) -> Tensor:
    """A LeakyReLU network of hidden `widths` at coordinates (inputs, points): its outputs (outputs, points).

    Differentiable once, in the flat `parameters` (P,) and in the coordinates, also by `torch.func.grad` and `jacrev`;
    `vmap` calls it again and again. Tensors have any strides, and one floating-point type. It computes in float32, also
    under autocast: half precision is brought up to it, and the outputs down again where both tensors had it. Float64
    stays float64, by the reference. Raises ValueError for tensors of other types, for parameters that are not as many
    as the network's, for widths and outputs that are not whole numbers of at least 1, and for a slope out of
    `Network`'s range; NotImplementedError for a second derivative and for forward-mode differentiation.
    """
    network = _checked(parameters, coordinates, widths, outputs, slope, (*HALF, *WHOLE))
    brought = [tensor.float() if tensor.dtype in HALF else tensor for tensor in (parameters, coordinates)]
    result: Tensor = _Mlp.apply(*brought, list(network.dims[1:-1]), network.dims[-1], network.slope)
    both = parameters.dtype == coordinates.dtype
    return result.to(coordinates.dtype) if both and coordinates.dtype in HALF else result


# The compiler is not to look into it, nor to transform what it calls by other rules than those below.
torch.compiler.allow_in_graph(mlp)


@torch.library.custom_op("draw_poly::mlp", mutates_args=())
def _forward(parameters: Tensor, coordinates: Tensor, widths: list[int], outputs: int, slope: float) -> Tensor:
    network = _checked(parameters, coordinates, widths, outputs, slope)
    if not _fused(network, parameters):
        return reference.forward(reference.layers(parameters, network), coordinates, network.activation)[1].contiguous()
    from draw_poly.kernels import gpu

    points = coordinates.shape[1]
    result = coordinates.new_empty((outputs, points))
    # The kernel tells patterns too; nobody asked for them here.
    coefficients = torch.zeros((1, network.neurons), dtype=torch.int64, device=parameters.device)
    signatures = torch.empty((1, points), dtype=torch.int64, device=parameters.device)
    if points:
        gpu.evaluate(network, parameters[None], coefficients, coordinates[None], result[None], signatures)
    return result


@torch.library.custom_op("draw_poly::mlp_backward", mutates_args=())
def _backward(
    to_outputs: Tensor, parameters: Tensor, coordinates: Tensor, widths: list[int], slope: float
) -> tuple[Tensor, Tensor]:
    """The gradients of parameters and coordinates, from that of the outputs (outputs, points)."""
    network = _checked(parameters, coordinates, widths, to_outputs.shape[0], slope)
    points = coordinates.shape[1]
    to_parameters = torch.zeros_like(parameters, memory_format=torch.contiguous_format)
    to_coordinates = torch.empty_like(coordinates, memory_format=torch.contiguous_format)
    if not points:
        return to_parameters, to_coordinates
    if not _fused(network, parameters):
        stack = reference.layers(parameters, network)
        activations, _ = reference.forward(stack, coordinates, network.activation)
        first = reference.backward(
            stack, activations, to_outputs, network.activation, reference.layers(to_parameters, network)
        )
        return to_parameters, stack[0][0].t() @ first
    from draw_poly.kernels.gpu.gradient import input_gradient
    from draw_poly.kernels.gpu.update import total
    from draw_poly.kernels.gpu.workspace import Workspace

    workspace = Workspace(network, None, points, parameters.device)
    input_gradient(workspace, parameters[None], coordinates[None], to_outputs[None], to_coordinates[None])
    total(workspace, [to_parameters[None]], to_parameters.new_empty((1, 1)))  # the loss is the caller's own
    return to_parameters, to_coordinates


@_forward.register_fake
def _(parameters: Tensor, coordinates: Tensor, widths: list[int], outputs: int, slope: float) -> Tensor:
    _checked(parameters, coordinates, widths, outputs, slope)
    return coordinates.new_empty((outputs, coordinates.shape[1]))


@_backward.register_fake
def _(
    to_outputs: Tensor, parameters: Tensor, coordinates: Tensor, widths: list[int], slope: float
) -> tuple[Tensor, Tensor]:
    _checked(parameters, coordinates, widths, to_outputs.shape[0], slope)
    contiguous = torch.contiguous_format
    return torch.empty_like(parameters, memory_format=contiguous), torch.empty_like(
        coordinates, memory_format=contiguous
    )


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    parameters, coordinates, ctx.widths, _, ctx.slope = inputs
    ctx.save_for_backward(parameters, coordinates)


def _differentiate(ctx: Any, to_outputs: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
    parameters, coordinates = ctx.saved_tensors
    return *_MlpBackward.apply(to_outputs, parameters, coordinates, ctx.widths, ctx.slope), None, None, None


def _differentiate_again(ctx: Any, *grads: Tensor) -> tuple[None, ...]:
    raise NotImplementedError("draw_poly::mlp has no second derivative: its backward cannot be differentiated")


class _Mlp(torch.autograd.Function):
    """The operator with a derivative that `torch.func` can transform, as it cannot what the library registers."""

    generate_vmap_rule = True

    @staticmethod
    def forward(parameters: Tensor, coordinates: Tensor, widths: list[int], outputs: int, slope: float) -> Tensor:
        result: Tensor = _forward(parameters, coordinates, widths, outputs, slope)
        return result

    setup_context = staticmethod(_keep)
    backward = staticmethod(_differentiate)


class _MlpBackward(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(*inputs: Any) -> tuple[Tensor, Tensor]:
        gradients: tuple[Tensor, Tensor] = _backward(*inputs)
        return gradients

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        pass

    backward = staticmethod(_differentiate_again)


_forward.register_autograd(_differentiate, setup_context=_keep)
_backward.register_autograd(_differentiate_again)


def _one_by_one(operator: Callable[..., Any]) -> Callable[..., Any]:
    """A rule for `vmap` of an operator: one call for each of the batch."""

    def rule(info: Any, dims: tuple[Any, ...], *inputs: Any) -> tuple[Any, Any]:
        pairs = list(zip(inputs, dims, strict=True))
        calls = [
            operator(*(one.select(dim, index) if isinstance(dim, int) else one for one, dim in pairs))
            for index in range(info.batch_size)
        ]
        if isinstance(calls[0], Tensor):
            return torch.stack(calls), 0
        return tuple(map(torch.stack, zip(*calls, strict=True))), (0,) * len(calls[0])

    return rule


for _operator in (_forward, _backward):
    _operator.register_vmap(_one_by_one(_operator))
    for _device in ("cpu", "cuda"):
        _operator.register_autocast(_device, torch.float32)


def _fused(network: Network, parameters: Tensor) -> bool:
    return parameters.dtype == torch.float32 and unsupported_on_gpu(network, None, parameters.device) is None


def _checked(
    parameters: Tensor,
    coordinates: Tensor,
    widths: Sequence[int],
    outputs: int,
    slope: float,
    types: Sequence[torch.dtype] = WHOLE,
) -> Network:
    if coordinates.dim() != 2:
        raise ValueError(f"coordinates have {coordinates.dim()} dimensions: give (inputs, points)")
    network = Network((coordinates.shape[0], *widths, outputs), leaky_relu(slope))
    if parameters.shape != (network.size,):
        given = tuple(parameters.shape)
        raise ValueError(f"parameters have shape {given}, and a network of {network.dims} has ({network.size},)")
    kinds = {parameters.dtype, coordinates.dtype}
    if not kinds.issubset(types) or (torch.float64 in kinds and len(kinds) > 1):
        raise ValueError(
            f"parameters are {parameters.dtype} and coordinates {coordinates.dtype}: give one floating-point type of "
            f"{', '.join(map(str, types))}"
        )
    if parameters.device != coordinates.device:
        raise ValueError(
            f"parameters are on {parameters.device} and coordinates on {coordinates.device}: give one device"
        )
    return network
