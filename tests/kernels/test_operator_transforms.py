"""The operator under PyTorch's transformations, and whatever the state of the program around it."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import pytest
import torch
import torch.autograd.forward_ad as forward_ad
from torch import Tensor
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, linearize, vmap

from benches.plain import plain_forward
from draw_poly.kernels.operator import mlp
from draw_poly.kernels.oracle import allowed, assert_outputs, error_of
from tests.kernels.test_operator import WIDTHS, Module, agree, both, made

Function = Callable[[Tensor, Tensor], Tensor]
NETWORK = made(1)[2]
Transformed = Callable[[Function, Tensor, Tensor], tuple[Tensor, ...]]


def ours(parameters: Tensor, coordinates: Tensor) -> Tensor:
    return mlp(parameters, coordinates, WIDTHS)


def theirs(parameters: Tensor, coordinates: Tensor) -> Tensor:
    return plain_forward(parameters, NETWORK, coordinates)


def few() -> tuple[Tensor, Tensor]:
    """Parameters and some coordinates: a transformation may call for each of them."""
    parameters, coordinates, _ = made(1)
    return parameters, coordinates[:, :4]


def loss(function: Function) -> Function:
    return lambda parameters, coordinates: function(parameters, coordinates).sin().sum()


def several(flat: Tensor) -> Tensor:
    return torch.stack((flat, 0.9 * flat, flat.roll(1, -1)))


RIGHT: dict[str, Transformed] = {
    "grad": lambda f, p, x: grad(loss(f), (0, 1))(p, x),
    "jacrev": lambda f, p, x: jacrev(f, (0, 1))(p, x),
    "vmap of networks": lambda f, p, x: (vmap(f, (0, None))(several(p), x),),
    "vmap of coordinates": lambda f, p, x: (vmap(f, (None, 0), 1)(p, several(x)),),
    "vmap of points": lambda f, p, x: (vmap(lambda point: f(p, point[:, None])[:, 0], 1)(x),),
    "vmap of vmap": lambda f, p, x: (vmap(vmap(f, (0, None)), (None, 0))(several(p), several(x)),),
    "vmap of grad": lambda f, p, x: vmap(grad(loss(f), (0, 1)))(several(p), several(x)),
    "grad of vmap": lambda f, p, x: (grad(lambda many: vmap(loss(f), (0, None))(many, x).sum())(several(p)),),
    "vmap of jacrev": lambda f, p, x: (vmap(jacrev(f), (0, None))(several(p), x),),
}


BY_REFERENCE = pytest.mark.parametrize("path", ["reference"], indirect=True)  # an interpreter is slow at many calls


@BY_REFERENCE
@pytest.mark.parametrize("name", RIGHT)
def test_what_torch_func_makes_of_it_is_right(path: str, name: str) -> None:
    parameters, coordinates = few()
    found = RIGHT[name](ours, parameters, coordinates)
    truth = RIGHT[name](theirs, parameters.double(), coordinates.double())
    for one, other in zip(found, truth, strict=True):
        assert error_of(one, other) <= allowed()


@BY_REFERENCE
@pytest.mark.parametrize("name", ["grad", "vmap of networks", "vmap of grad"])
def test_what_the_compiler_makes_of_torch_func_is_right(path: str, name: str) -> None:
    parameters, coordinates = few()
    compiled = torch.compile(lambda p, x: RIGHT[name](ours, p, x), backend="aot_eager", fullgraph=True)
    truth = RIGHT[name](theirs, parameters.double(), coordinates.double())
    for one, other in zip(compiled(parameters, coordinates), truth, strict=True):
        assert error_of(one, other) <= allowed()


def test_a_module_is_called_with_other_parameters(path: str) -> None:
    parameters, coordinates, _ = made(1)
    leaves, exact = both(0.9 * parameters, coordinates)
    functional_call(Module(parameters), {"flat": leaves[0]}, (leaves[1],)).sin().sum().backward()
    loss(theirs)(*exact).backward()
    agree(leaves, exact)


def dual(parameters: Tensor, coordinates: Tensor) -> Tensor:
    with forward_ad.dual_level():
        return ours(forward_ad.make_dual(parameters, parameters), coordinates)


REFUSED: dict[str, Callable[[Tensor, Tensor], object]] = {
    "jvp": lambda p, x: jvp(ours, (p, x), (p, x)),
    "jvp of coordinates": lambda p, x: jvp(lambda x: ours(p, x), (x,), (x,)),
    "jacfwd": lambda p, x: jacfwd(ours)(p, x),
    "hessian": lambda p, x: hessian(loss(ours))(p, x),
    "linearize": lambda p, x: linearize(lambda p: ours(p, x), p),
    "vmap of jvp": lambda p, x: vmap(lambda p: jvp(lambda p: ours(p, x), (p,), (p,)))(several(p)),
    "dual": dual,
    "dual with a gradient": lambda p, x: dual(p.clone().requires_grad_(), x),
    "dual without a gradient": lambda p, x: torch.no_grad()(dual)(p, x),
    "dual of half precision": lambda p, x: dual(p.bfloat16(), x),
    "grad of grad": lambda p, x: grad(lambda p: grad(loss(ours))(p, x).sum())(p),
    "grad of grad by coordinates": lambda p, x: grad(lambda p: grad(loss(ours), 1)(p, x).sum())(p),
    "jacrev of jacrev": lambda p, x: jacrev(jacrev(loss(ours)))(p, x),
    "jvp by two reverses": lambda p, x: torch.autograd.functional.jvp(lambda p: ours(p, x), p, p),
    "compiled jvp": lambda p, x: torch.compile(lambda p: jvp(lambda p: ours(p, x), (p,), (p,)), backend="eager")(p),
}


@BY_REFERENCE
@pytest.mark.parametrize("name", REFUSED)
def test_what_it_cannot_be_differentiated_by_is_refused(path: str, name: str) -> None:
    parameters, coordinates = few()
    with pytest.raises(NotImplementedError, match=r"jvp|no second derivative"):
        REFUSED[name](parameters, coordinates)


@BY_REFERENCE
def test_gradients_pass_torchs_own_check(path: str) -> None:
    parameters, coordinates, _ = made(1, torch.float64)
    inputs = parameters.requires_grad_(), coordinates[:, :5].clone().requires_grad_()
    assert torch.autograd.gradcheck(ours, inputs, check_batched_grad=True)
    with pytest.raises(NotImplementedError, match="no second derivative"):
        torch.autograd.gradgradcheck(ours, inputs)


def test_batched_gradients_are_right(path: str) -> None:
    parameters, coordinates = few()
    seeds = torch.eye(4)[:2, None]
    found, truth = (
        torch.autograd.grad(f(*leaves), leaves, seeds.to(leaves[0].dtype), is_grads_batched=True)
        for f, leaves in zip((ours, theirs), both(parameters, coordinates), strict=True)
    )
    for one, other in zip(found, truth, strict=True):
        assert error_of(one, other) <= allowed()


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def default_device(name: str) -> Iterator[None]:
    torch.set_default_device(name)
    try:
        yield
    finally:
        torch.set_default_device(None)


@contextmanager
def deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


AROUND: dict[str, Callable[[], AbstractContextManager[object]]] = {
    "autocast to bfloat16": lambda: torch.autocast("cpu", torch.bfloat16),
    "autocast to float16": lambda: torch.autocast("cpu", torch.float16),
    "autocast of another device": lambda: torch.autocast("cuda", torch.float16),
    "default dtype float64": lambda: default_dtype(torch.float64),
    "default device meta": lambda: default_device("meta"),
    "deterministic": deterministic,
}


@pytest.mark.filterwarnings("ignore:.*CUDA is not available:UserWarning")
@pytest.mark.parametrize("backward_within", [False, True])
@pytest.mark.parametrize("name", AROUND)
def test_the_state_around_it_changes_nothing(path: str, name: str, backward_within: bool) -> None:
    parameters, coordinates, _ = made(1)
    leaves, exact = both(parameters, coordinates)
    with AROUND[name]():
        result = ours(*leaves)
        inside = result.sin().sum()
        if backward_within:
            inside.backward()
    if not backward_within:
        inside.backward()
    truth = theirs(*exact)
    truth.sin().sum().backward()
    assert result.dtype == torch.float32
    assert_outputs(result, truth)
    agree(leaves, exact)


@pytest.mark.parametrize("around", [torch.no_grad, torch.inference_mode])
def test_values_need_no_gradient(path: str, around: Callable[[], AbstractContextManager[object]]) -> None:
    parameters, coordinates, _ = made(1)
    with around():
        result = ours(parameters.requires_grad_(), coordinates)
    assert not result.requires_grad
    assert_outputs(result, theirs(parameters.double(), coordinates.double()))


HALVES = (torch.bfloat16, torch.float16)


@BY_REFERENCE
@pytest.mark.parametrize("within", [nullcontext, AROUND["autocast to bfloat16"]])
@pytest.mark.parametrize(
    ("of_parameters", "of_coordinates", "of_outputs"),
    [(half, half, half) for half in HALVES]
    + [(half, torch.float32, torch.float32) for half in HALVES]
    + [(torch.float32, half, torch.float32) for half in HALVES]
    + [(*HALVES, torch.float32)],
)
def test_half_precision_is_float32_inside(
    path: str,
    within: Callable[[], AbstractContextManager[object]],
    of_parameters: torch.dtype,
    of_coordinates: torch.dtype,
    of_outputs: torch.dtype,
) -> None:
    parameters, coordinates, _ = made(1)
    leaves = parameters.to(of_parameters).requires_grad_(), coordinates.to(of_coordinates).requires_grad_()
    single = leaves[0].detach().float().requires_grad_(), leaves[1].detach().float().requires_grad_()
    with within():
        result = ours(*leaves)
        truth = ours(*single)
    assert result.dtype == of_outputs
    assert torch.equal(result, truth.to(of_outputs))
    for outputs in (result, truth):
        outputs.float().sum().backward()  # of outputs' own gradient, ones, nothing is rounded
    for leaf, one in zip(leaves, single, strict=True):
        assert leaf.grad is not None
        assert one.grad is not None
        assert torch.equal(leaf.grad, one.grad.to(leaf.dtype))


@BY_REFERENCE
def test_float64_stays_float64_under_autocast(path: str) -> None:
    parameters, coordinates, _ = made(1, torch.float64)
    leaves, exact = both(parameters, coordinates)
    with torch.autocast("cpu", torch.bfloat16):
        result = ours(*leaves)
    assert result.dtype == torch.float64
    result.sin().sum().backward()
    loss(theirs)(*exact).backward()
    for ours_, theirs_ in zip(leaves, exact, strict=True):
        torch.testing.assert_close(ours_.grad, theirs_.grad)


def test_it_compiles_whole_under_autocast(path: str) -> None:
    parameters, coordinates, _ = made(1)
    leaves, exact = both(parameters, coordinates)

    @torch.compile(fullgraph=True, backend="aot_eager")
    def compiled(parameters: Tensor, coordinates: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return loss(ours)(parameters, coordinates)

    compiled(*leaves).backward()
    loss(theirs)(*exact).backward()
    agree(leaves, exact)
