"""What the Triton kernels do beside what every package does: tiles as on a GPU, several to a program, edges."""

from itertools import product

import numpy as np
import pytest
import torch

from benches.alone import Alone
from benches.plain import plain_forward
from benches.verify_kernels import gradient_rows, stepped
from draw_poly.engine.model import kolmogorov
from draw_poly.kernels import reference
from draw_poly.kernels.oracle import assert_outputs, pixels, poison, random_parameters
from draw_poly.kernels.spec import BELOW, RIGHT, KolmogorovTerm, Network
from tests.conftest import INTERPRETED, rows

pytestmark = INTERPRETED
CPU = torch.device("cpu")
TERM = KolmogorovTerm(Network((3, 8, 8, 70)), "cross_entropy", 0.5, 70, -0.8, 1.1)


@pytest.fixture(autouse=True)
def _tiles_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU, where tiles are smaller than an interpreter likes them."""
    from draw_poly.kernels.gpu import plan

    monkeypatch.setattr(plan, "interpreted", lambda: False)


# Unrolled, by a loop, and wider than a tile is padded to at least; with the term over several tiles of parameters.
@pytest.mark.parametrize(
    ("hidden", "term", "programs"),
    rows(
        [*product([(7, 12, 5), (5,) * 12, (33, 5)], [None, TERM], [2, 528]), ((5, 3), TERM, 2)],
        quick=[((7, 12, 5), None, 2), ((5,) * 12, None, 528), ((33, 5), None, 2), ((5, 3), TERM, 2)],
    ),
)
def test_a_program_may_take_several_tiles(
    monkeypatch: pytest.MonkeyPatch, hidden: tuple[int, ...], term: KolmogorovTerm | None, programs: int
) -> None:
    from draw_poly.kernels import gpu
    from draw_poly.kernels.gpu import plan

    monkeypatch.setattr(plan, "MOST_PROGRAMS", programs)
    network = Network((2, *hidden, 1))
    wrong = [row for row in gradient_rows(network, 37, term, "fp32", Alone(gpu), CPU) if not row.passed]
    assert not wrong


def test_scratch_stays_within_its_limit() -> None:
    from draw_poly.kernels.gpu.plan import SCRATCH, batch_tile, plan

    for hidden in ((5,) * 40, (10,) * 100, (64,) * 500):
        network = Network((2, *hidden, 1))
        constants, launch = plan(network, network.dims, 10**6, batch_tile(network, 10**6), "fp32")
        assert not constants.unrolled
        assert launch.programs >= 1
        assert 4 * launch.programs * launch.scratch <= max(SCRATCH, 4 * launch.scratch)


@pytest.mark.parametrize(
    ("hidden", "width", "height"),
    rows(
        [
            (hidden, *size)
            for hidden in ((10,) * 3, (7, 12, 5), (20, 20))
            for size in ((1, 1), (1, 40), (40, 1), (33, 37), (30, 14))
        ],
        quick=[((10,) * 3, 1, 1), ((7, 12, 5), 1, 40), ((20, 20), 40, 1), ((7, 12, 5), 33, 37)],
    ),
)
def test_edges_are_where_a_neighbour_has_another_signature(hidden: tuple[int, ...], width: int, height: int) -> None:
    from draw_poly.kernels import gpu

    network = Network((2, *hidden, 3))
    flat = random_parameters(network, 1, torch.float32)
    coefficients = torch.randint(1, 2**31 - 1, (network.neurons,), generator=torch.Generator().manual_seed(1))
    outputs = torch.full((3, height, width), torch.nan)
    signatures = torch.full((height, width), -1)
    edges = torch.full((height, width), 9, dtype=torch.uint8)
    Alone(gpu).evaluate_grid(network, flat, coefficients, (width, height), 0, outputs, signatures, edges)
    expected = torch.zeros((height, width), dtype=torch.uint8)
    for i in range(height):
        for j in range(width):
            if j + 1 < width and signatures[i, j + 1] != signatures[i, j]:
                expected[i, j] += RIGHT
            if i + 1 < height and signatures[i + 1, j] != signatures[i, j]:
                expected[i, j] += BELOW
    assert torch.equal(edges, expected)
    if width * height > 1000:
        assert 0 < (edges > 0).sum() < edges.numel()
    truth = plain_forward(flat.double(), network, pixels(width, height).double())
    assert_outputs(outputs.view(3, -1), truth)


def test_a_network_past_the_limits_is_refused_by_every_kernel() -> None:
    from draw_poly.kernels import gpu

    for dims, limit in (((2, 1), "without a hidden layer"), ((2, 100, 1), "layer width 100 is above 64")):
        network = Network(dims)
        flat, terms = torch.zeros(network.size), torch.zeros(network.neurons, dtype=torch.int64)
        outputs, signatures = torch.zeros((1, 4)), torch.zeros(4, dtype=torch.int64)
        with pytest.raises(ValueError, match=limit):
            Alone(gpu).evaluate(network, flat, terms, torch.zeros((2, 4)), outputs, signatures)
        with pytest.raises(ValueError, match=limit):
            Alone(gpu).evaluate_grid(network, flat, terms, (2, 2), 0, outputs.view(1, 2, 2), signatures.view(2, 2))
        with pytest.raises(ValueError, match=limit):
            gpu.Workspace(network, None, 10, CPU)


def test_a_batch_past_the_partials_is_refused() -> None:
    from draw_poly.kernels import gpu

    network = Network((2, 5, 1))
    workspace, flat = gpu.Workspace(network, None, 10, CPU), random_parameters(network, 1, torch.float32)
    for points in (0, 11):
        with pytest.raises(ValueError, match=f"a batch of {points} points, where the partials were made for 1 to 10"):
            Alone(gpu).gradient(workspace, [flat], None, torch.zeros((2, points)), torch.zeros((1, points)))


@pytest.mark.parametrize(
    ("hidden", "term"),
    rows(
        [*product([(7, 12, 5), (5,) * 12], [None, TERM]), ((5, 3), TERM)],
        quick=[((7, 12, 5), None), ((5, 3), TERM)],
    ),
)
def test_a_batch_may_be_named_by_an_order(hidden: tuple[int, ...], term: KolmogorovTerm | None) -> None:
    from draw_poly.kernels import gpu

    network = Network((2, *hidden, 2))
    generator = torch.Generator().manual_seed(5)
    data = torch.rand((4, 90), generator=generator)
    order = torch.randperm(90, generator=generator)[11:48]
    parameters = [random_parameters(one, 1, torch.float32) for one in (network, *([term.predictor] if term else []))]
    positions = kolmogorov.positions(network) if term else None
    found = []
    for inputs, targets, chosen in (
        (data[:2], data[2:], [order]),
        (data[:2, order].contiguous(), data[2:, order].contiguous(), []),
    ):
        workspace = gpu.Workspace(network, term, 37, CPU)
        poison(workspace)
        Alone(gpu).gradient(workspace, parameters, positions, inputs, targets, *chosen)
        found.append(stepped(Alone(gpu), workspace, parameters))
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_an_order_is_contiguous_int64() -> None:
    from draw_poly.kernels import gpu

    network = Network((2, 5, 1))
    workspace, flat = gpu.Workspace(network, None, 10, CPU), random_parameters(network, 1, torch.float32)
    for order in (torch.arange(10)[::2], torch.arange(5, dtype=torch.int32)):
        with pytest.raises(ValueError, match="give contiguous int64"):
            Alone(gpu).gradient(workspace, [flat], None, torch.zeros((2, 10)), torch.zeros((1, 10)), order)


# Unrolled and by a loop; one point, a tile and one more, many tiles to a program.
@pytest.mark.parametrize(
    ("hidden", "points", "programs"),
    rows(
        [
            (one, *size)
            for one in ((10,) * 8, (5,) * 12, (33, 5))
            for size in ((1, 528), (17, 528), (203, 528), (203, 3))
        ],
        quick=[((10,) * 8, 1, 528), ((5,) * 12, 17, 528), ((33, 5), 203, 528), ((33, 5), 203, 3)],
    ),
)
def test_validation_is_the_references(
    monkeypatch: pytest.MonkeyPatch, hidden: tuple[int, ...], points: int, programs: int
) -> None:
    from draw_poly.kernels import gpu
    from draw_poly.kernels.gpu import plan

    monkeypatch.setattr(plan, "MOST_PROGRAMS", programs)
    network = Network((2, *hidden, 2))
    flat = random_parameters(network, 1, torch.float32)
    made = gpu.Validation(network, points, CPU)
    for turn in range(3):  # each launch leaves the counter as it found it
        data = torch.rand((4, points), generator=torch.Generator().manual_seed(turn))
        poison(made)
        found = torch.full((3,), torch.nan)
        Alone(gpu).validate(made, flat, data[:2], data[2:], found)
        stack = reference.layers(flat.double(), network)
        truth = reference.validate_one(stack, data[:2].double(), data[2:].double(), network)
        torch.testing.assert_close(found.double(), truth, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match=f"{points + 1} points to validate on, where {points} were said"):
        Alone(gpu).validate(made, flat, torch.zeros((2, points + 1)), torch.zeros((2, points + 1)), found)


def test_few_points_are_shared_out_to_many_processors() -> None:
    from draw_poly.kernels.gpu.plan import FEWEST, MULTIPROCESSORS, evaluation_plan

    network = Network((2, *[10] * 8, 1))
    for points in (1, 33, 1024, 5000, 2**16, 2**24):
        constants, warps = evaluation_plan(network, False, points)
        programs = -(-points // constants.tile)
        assert programs >= min(MULTIPROCESSORS, -(-points // FEWEST))
        assert FEWEST <= constants.tile <= 512
        assert 1 <= warps <= constants.tile // 32
    assert evaluation_plan(network, False, 2**24) == evaluation_plan(network, False, 2**20)


def test_rows_of_inputs_may_lie_further_apart_than_32_bits_count() -> None:
    from draw_poly.kernels import gpu

    apart = 2**30
    base = np.zeros(2 * apart + 8, np.float32)  # never touched, so never there
    inputs = torch.from_numpy(base).as_strided((3, 4), (apart, 1))
    network = Network((3, 5, 2))
    inputs.copy_(torch.rand((3, 4)))
    flat = random_parameters(network, 1, torch.float32)
    coefficients = torch.randint(1, 2**31 - 1, (network.neurons,))
    found = []
    for points in (inputs, inputs.clone()):
        outputs, signatures = torch.full((2, 4), torch.nan), torch.full((4,), -1)
        Alone(gpu).evaluate(network, flat, coefficients, points, outputs, signatures)
        workspace = gpu.Workspace(network, None, 4, CPU)
        Alone(gpu).gradient(workspace, [flat], None, points, torch.ones((2, 4)))
        found.append([outputs, signatures, *stepped(Alone(gpu), workspace, [flat])])
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_a_table_that_a_graph_may_read_stays_whatever_comes_after() -> None:
    from draw_poly.kernels.gpu.workspace import layer_table

    first = layer_table(Network((2, 3, 1)), CPU)
    for width in range(4, 200):
        layer_table(Network((2, width, 1)), CPU)
    assert layer_table(Network((2, 3, 1)), CPU) is first


def test_scratch_is_float32_whatever_a_caller_makes_of_tensors() -> None:
    from draw_poly.kernels import gpu

    network, before = Network((2, 5, 1)), torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        made = gpu.Workspace(network, TERM, 10, CPU), gpu.Validation(network, 10, CPU)
    finally:
        torch.set_default_dtype(before)
    assert made[0].predictor is not None
    scratch = [*made[0].task, *made[0].predictor, *vars(made[0]).values(), *vars(made[1]).values()]
    assert {one.dtype for one in scratch if isinstance(one, torch.Tensor)} == {torch.float32, torch.int32}
