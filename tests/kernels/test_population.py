"""Networks side by side: what each computes is, to the bit, what it computes alone."""

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from draw_poly.engine.model import kolmogorov
from draw_poly.kernels import cpu, reference
from draw_poly.kernels.oracle import NAN, poison, random_parameters
from draw_poly.kernels.spec import OPTIMIZERS, KolmogorovTerm, Network, Optimizer, cross_entropy
from draw_poly.kernels.spec import optimizer as places
from tests.conftest import INTERPRETED
from tests.kernels.fused import DEVICE, identical, of_packages

PACKAGES = ["reference", "cpu", pytest.param("gpu", marks=INTERPRETED)]
# Neither a panel, a tile nor a block of parameters is filled; the second batch is shorter than the first.
POINTS, BATCH, SHORT = 61, 37, 9
RATES, MOMENTA, WEIGHTS = (0.01, 0.003, 0.02), (0.85, 0.6, 0.3), (0.3, 0.7, 0.05)
TERM = KolmogorovTerm(Network((3, 5, 20)), "cross_entropy", 0.9, 20, -0.8, 1.1)
GAUSSIAN = KolmogorovTerm(Network((3, 4, 2)), "gaussian_nll", 0.9)
CLASSES = Network((2, 7, 5, 3), loss=cross_entropy())
EACH = NARROW, DEEP, WIDE = Network((2, 7, 5, 2)), Network((2, *[5] * 12, 1)), Network((2, 33, 5, 1))


@pytest.fixture(params=PACKAGES)
def package(request: pytest.FixtureRequest) -> ModuleType:
    return importlib.import_module(f"draw_poly.kernels.{request.param}")


@pytest.fixture
def _few_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU, where tiles are smaller than an interpreter likes them; and several of them to a program."""
    plan = pytest.importorskip("draw_poly.kernels.gpu.plan")
    monkeypatch.setattr(plan, "interpreted", lambda: False)
    monkeypatch.setattr(plan, "MOST_PROGRAMS", 2)


@dataclass
class Population:
    """Some of three networks that differ in all that networks of one shape may."""

    network: Network
    term: KolmogorovTerm | None
    members: tuple[int, ...]

    @property
    def weights(self) -> list[float]:
        return [WEIGHTS[member] for member in self.members]

    def flat(self, learner: int) -> Tensor:
        """Parameters (networks, P) of the networks, or of the predictors."""
        one = self.term.predictor if learner and self.term else self.network
        return torch.stack([random_parameters(one, 10 * learner + member, torch.float32) for member in self.members])

    def learners(self) -> range:
        return range(2 if self.term else 1)

    def drawn(self, *shape: int) -> Tensor:
        """Numbers (networks, *shape) from 0 to 1, each network's own."""
        return torch.stack(
            [torch.rand(shape, generator=torch.Generator().manual_seed(5 + member)) for member in self.members]
        )

    def data(self, count: int) -> Tensor:
        """Inputs and targets (networks, 2 + targets, count)."""
        data = self.drawn(2 + self.network.targets, count)
        if self.network.loss.labelled:
            data[:, 2:] = (data[:, 2:] * self.network.dims[-1]).floor()
        return data

    def orders(self, count: int) -> Tensor:
        """An order (networks, count) of some points for each."""
        generator = (torch.Generator().manual_seed(7 + member) for member in self.members)
        return torch.stack([torch.randperm(POINTS, generator=one)[:count] for one in generator])

    def scalars(self, kinds: list[str], step: int) -> Tensor:
        rows = []
        for member in self.members:
            rows.append([number for one in optimizers_of(member, kinds) for number in one.scalars(step)])
        return torch.tensor(rows)


def steps(package: ModuleType, some: Population, kinds: list[str], count: int = 3) -> list[Tensor]:
    """All that some steps leave, what another would take, each with networks in front."""
    parameters = [some.flat(learner) for learner in some.learners()]
    kinds = kinds[: len(parameters)]
    optimizers = optimizers_of(0, kinds)
    moments = [
        torch.zeros((len(flat), one.moments, flat.shape[1])) for flat, one in zip(parameters, optimizers, strict=True)
    ]
    positions = kolmogorov.positions(some.network) if some.term else None
    workspace = package.Workspace(
        some.network, some.term, BATCH + 3, DEVICE, networks=len(some.members), weights=some.weights
    )
    data, left = some.data(POINTS), []
    for step in range(1, count + 1):
        order = some.orders(SHORT if step == 2 else BATCH)
        batch, named = data, [order]
        if "gpu" not in package.__name__:
            batch, named = data.gather(2, order[:, None].expand(-1, data.shape[1], -1)), []
        poison(workspace)
        losses = torch.full((len(some.members), len(parameters)), NAN)
        package.gradient(workspace, parameters, positions, batch[:, :2], batch[:, 2:], *named)
        gradients = [torch.full_like(flat, NAN) for flat in parameters]
        package.total(workspace, gradients, losses)
        left += [losses.clone(), *gradients]
        losses.fill_(NAN)
        package.update(workspace, optimizers, parameters, moments, some.scalars(kinds, step), losses)
        left.append(losses)
    return [*left, *parameters, *moments]


def assert_each_as_alone(found: Any) -> None:
    """`found` (members) gives lists of tensors: those of all three are those of each, and differ from each other."""
    together = found((0, 1, 2))
    assert all(one.isfinite().all() for one in together)
    for member in range(3):
        assert identical([one[member : member + 1] for one in together], found((member,)))
    assert identical([one[[2, 0]] for one in together], found((2, 0)))
    assert not torch.equal(together[0][0], together[0][1])


# Each kind of optimiser once, with another one's predictor or without a term; the interpreter's quick one is without,
# for the next test is with it.
STEPS: list[tuple[Any, ...]] = [
    (NARROW, TERM, ["adam", "sgd_momentum"]),
    (NARROW, None, ["sgd_momentum"]),
    (WIDE, None, ["rmsprop"]),
    (DEEP, GAUSSIAN, ["sgd", "adam"]),
    (NARROW, GAUSSIAN, ["muon", "lion"]),
    (NARROW, None, ["nadam"]),
    (NARROW, None, ["adamw"]),
    (CLASSES, None, ["adam"]),
]
# What networks differ in beside rates, momenta and weights; all of it in the scalars.
DECAYS, EPSILONS, NORMS = (0.1, 0.2, 0.4), (1e-8, 1e-4, 1e-2), (0.05, 0.2, 0.01)


def optimizers_of(member: int, kinds: list[str]) -> list[Optimizer]:
    """A network's own."""
    words: dict[str, Any] = {
        "momentum": MOMENTA[member], "muon_momentum": MOMENTA[member], "weight_decay": DECAYS[member],
        "adam_eps": EPSILONS[member], "muon_eps": EPSILONS[member], "grad_clip_norm": NORMS[member],
    }  # fmt: skip
    if kinds[0] in ("adam", "sgd_momentum", "rmsprop", "sgd"):
        words = {"momentum": MOMENTA[member]}
    return [Optimizer(kind, RATES[member], **words) for kind in kinds]


@pytest.mark.parametrize(
    ("package", "network", "term", "kinds"),
    [*(("reference", *row) for row in STEPS), *of_packages(STEPS, quick=STEPS[1:2])],
    indirect=["package"],
)
def test_steps_are_those_of_each_alone(
    package: ModuleType, network: Network, term: KolmogorovTerm | None, kinds: list[str]
) -> None:
    assert_each_as_alone(lambda members: steps(package, Population(network, term, members), kinds))


@pytest.mark.slow
@INTERPRETED
@pytest.mark.usefixtures("_few_tiles")
@pytest.mark.parametrize("network", [NARROW, DEEP])
def test_steps_of_several_tiles_are_those_of_each_alone(network: Network) -> None:
    gpu = importlib.import_module("draw_poly.kernels.gpu")
    assert_each_as_alone(lambda members: steps(gpu, Population(network, TERM, members), ["adam"] * 2, 1))


def test_every_kind_of_optimiser_reads_what_networks_differ_in() -> None:
    """Rates and momenta are in the scalars, so that the records of two networks that differ give other steps."""
    for kind in OPTIMIZERS:
        rows = Population(NARROW, None, (0, 1)).scalars([kind], 2)
        assert rows[0, places.RATE] != rows[1, places.RATE]
    momenta = Population(NARROW, None, (0, 1)).scalars(["sgd_momentum"], 2)[:, places.MOMENTUM]
    assert momenta.tolist() == pytest.approx(MOMENTA[:2])


# Neuron by neuron, by a loop over equal layers, and layer by layer.
@pytest.mark.parametrize(
    ("package", "network"),
    [*product(["reference"], EACH), *of_packages(product(EACH), quick=[(NARROW,)])],
    indirect=["package"],
)
def test_evaluations_are_those_of_each_alone(package: ModuleType, network: Network) -> None:
    width, rows, results = 23, 6, network.dims[-1]

    def found(members: tuple[int, ...]) -> list[Tensor]:
        some, count = Population(network, None, members), len(members)
        terms = (some.drawn(network.neurons) * 2**30).long()
        outputs, signatures = torch.full((count, results, POINTS), NAN), torch.full((count, POINTS), -1)
        package.evaluate(network, some.flat(0), terms, some.drawn(2, POINTS), outputs, signatures)
        grid, patterns = torch.full((count, results, rows, width), NAN), torch.full((count, rows, width), -1)
        package.evaluate_grid(network, some.flat(0), terms, (width, 9), 2, grid, patterns)
        made = [outputs, signatures, grid, patterns]
        if "gpu" in package.__name__:
            edges, values = torch.full((count, rows, width), 9, dtype=torch.uint8), torch.full_like(grid, NAN)
            package.evaluate_grid(network, some.flat(0), terms, (width, 9), 2, values, patterns.clone(), edges)
            made += [values, edges]
        return made

    assert_each_as_alone(found)


@pytest.mark.parametrize("network", [NARROW, DEEP, CLASSES])
def test_validations_are_those_of_each_alone(package: ModuleType, network: Network) -> None:
    def found(members: tuple[int, ...]) -> list[Tensor]:
        some = Population(network, None, members)
        data, out = some.data(POINTS), torch.full((len(members), 3), NAN)
        if package is reference:
            reference.validate(network, some.flat(0), data[:, :2], data[:, 2:], out)
        elif package is cpu:
            workspace = cpu.Workspace(network, None, BATCH, DEVICE, networks=len(members))
            points = data[:, :2], data[:, 2:]
            training = cpu.Training(workspace, [], [some.flat(0)], [], None, points, points)
            nothing, kept = torch.empty((len(members), 1, 0, 2)).numpy(), torch.empty((len(members), 1, network.size))
            order = some.orders(0).numpy()[:, None]
            out = torch.from_numpy(training.run(order, nothing, nothing[..., :1].copy(), kept.numpy()))
        else:
            made = package.Validation(network, POINTS, DEVICE, len(members))
            for _ in range(2):  # each launch leaves the counters as it found them
                poison(made)
                made.run(some.flat(0), data[:, :2], data[:, 2:], out.fill_(NAN))
        return [out]

    assert_each_as_alone(found)


@pytest.fixture(params=[1, 2, 3])
def _threads(request: pytest.FixtureRequest) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


# On a CPU an epoch is one call, whose tasks threads share; several rows of points, segments and blocks of parameters.
@pytest.mark.usefixtures("_threads")
@pytest.mark.parametrize("term", [None, TERM])
def test_an_epoch_in_one_call_is_that_of_each_alone(
    term: KolmogorovTerm | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("draw_poly.kernels.cpu.workspace.threads_for", lambda operations: torch.get_num_threads())
    network, points, batch = Network((2, 47, 45, 1)), 1500, 600

    def found(members: tuple[int, ...]) -> list[Tensor]:
        some, kinds = Population(network, term, members), ["adam", "adam"][: 2 if term else 1]
        parameters = [some.flat(learner) for learner in some.learners()]
        moments = [torch.zeros((len(flat), 2, flat.shape[1])) for flat in parameters]
        workspace = cpu.Workspace(network, term, batch, DEVICE, networks=len(members), weights=some.weights)
        data, other = some.drawn(3, points), some.drawn(3, 700)
        training = cpu.Training(
            workspace, [Optimizer(kind, 1.0) for kind in kinds], parameters, moments,
            kolmogorov.positions(network) if term else None, (data[:, :2], data[:, 2:]), (other[:, :2], other[:, 2:]),
        )  # fmt: skip
        losses = torch.full((len(members), 2, 3, len(kinds)), NAN)
        scalars = torch.stack([some.scalars(kinds, step) for step in range(1, 7)], 1).unflatten(1, (2, 3))
        order = torch.stack([torch.randperm(points, generator=torch.Generator().manual_seed(one)) for one in members])
        orders, kept = (
            torch.stack((order, order.flip(1)), 1),
            torch.full((len(members), 2, sum(flat.shape[1] for flat in parameters)), NAN),
        )
        for _ in range(8):  # calls with and without helpers
            found = training.run(orders.numpy(), scalars.numpy(), losses.numpy(), kept.numpy())
        return [losses, torch.from_numpy(found), kept, *parameters, *moments]

    assert_each_as_alone(found)


def test_weights_are_as_many_as_networks(package: ModuleType) -> None:
    with pytest.raises(ValueError, match="2 weights of the term were given for 3 networks"):
        package.Workspace(NARROW, TERM, BATCH, DEVICE, networks=3, weights=[0.1, 0.2])


def test_another_number_of_networks_is_refused(package: ModuleType) -> None:
    if package is reference:
        pytest.skip("the reference takes as many as it is given")
    some = Population(NARROW, None, (0, 1, 2))
    workspace = package.Workspace(NARROW, None, BATCH, DEVICE, networks=2)
    data = some.drawn(4, BATCH)[:2]
    with pytest.raises(ValueError, match=r"parameters of shape \(3, .* give shape \(2, "):
        package.gradient(workspace, [some.flat(0)], None, data[:, :2], data[:, 2:])
