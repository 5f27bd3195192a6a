"""Visits of many epochs: they leave what visits of one leave, wherever a run ends."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from draw_poly.engine.backends import select as backend
from draw_poly.engine.backends.base import Backend, Data, never
from draw_poly.engine.backends.reference import Eager
from draw_poly.engine.config import Config
from draw_poly.engine.training import orders, pace
from draw_poly.engine.training.fresh import fresh_state
from draw_poly.engine.training.orders import Orders
from draw_poly.engine.training.pace import Pace
from draw_poly.engine.training.training import Training
from draw_poly.engine.training.watch import Watch
from tests.conftest import INTERPRETED, Program, slow
from tests.epochs import DOUBLING, SINGLE
from tests.simulated import Machine
from tests.test_run_ahead import left

WITH_TERM = {"kolmogorov_shape": "[4]", "kolmogorov_weight": 0.2, "kolmogorov_bins": 20}
POINTS, BATCH = 70, 32


def visited(name: str, device: str, counts: list[int], words: dict[str, object]) -> list[Tensor]:
    """All that seven epochs in such visits leave, and what they report."""
    config = Config("x", "[5]*2", 1, batch_size=BATCH, points=POINTS, backend=name, **words)  # type: ignore[arg-type]
    state = fresh_state(config, torch.Generator().manual_seed(3)).to(torch.device(device))
    made: Backend = backend.choose(config, torch.device(device))[0](state, config)
    generator = torch.Generator().manual_seed(4)
    training, validation = (torch.rand((1, 3, count), generator=generator).to(device) for count in (POINTS, 11))
    data, drawn, reports, first = Data(training, validation, BATCH), list[np.ndarray](), [], 0
    drawn = [torch.randperm(POINTS, generator=generator).numpy() for _ in range(sum(counts))]
    with torch.inference_mode():
        for count in counts:
            report = made.visit(data, np.stack(drawn[first : first + count])[None], never)()
            assert report.numbers.shape == (1, count, 3 * len(state.learners) + 3)
            reports.append([torch.from_numpy(one.copy()) for one in report])
            first += count
            last = torch.cat([one.parameters for one in state.learners], 1).cpu()
            assert torch.equal(reports[-1][1][:, -1], last)
    assert all(one.steps == 3 * sum(counts) for one in state.learners)
    numbers, parameters = (torch.cat(parts, 1) for parts in zip(*reports, strict=True))
    return [numbers, parameters, *(tensor.cpu() for one in state.learners for tensor in (one.parameters, one.moments))]


@pytest.mark.parametrize("words", [{}, WITH_TERM], ids=["alone", "with_term"])
@pytest.mark.parametrize("name", ["cpu", "eager", slow("compile")])
def test_epochs_of_a_visit_are_those_of_visits_of_one(name: str, words: dict[str, object]) -> None:
    expected = visited(name, "cpu", [1] * 7, words)
    for counts in ([7], [2, 5], [1, 3, 3]):
        assert all(map(torch.equal, visited(name, "cpu", counts, words), expected)), counts


# Two epochs a graph: what remains of a visit is replayed one by one.
@INTERPRETED
@pytest.mark.parametrize("words", [{}, slow(WITH_TERM)], ids=["alone", "with_term"])
def test_epochs_of_a_visit_are_replays_of_graphs_of_many(
    monkeypatch: pytest.MonkeyPatch, words: dict[str, object]
) -> None:
    monkeypatch.setattr("draw_poly.engine.backends.cuda_graph.GRAPH_EPOCHS", 2)
    found = []
    for counts, graphs, replays in (([1] * 7, 1, 6), ([1, 6], 1, 3), ([2, 5], 2, 3), ([1, 1, 5], 2, 4)):
        machine = Machine()
        with machine.installed():
            found.append(visited("triton", "cuda", counts, words))
        machine.check()
        assert (machine.graphs, machine.replays) == (graphs, replays), counts
    for other in found[1:]:
        assert all(map(torch.equal, found[0], other))


def test_a_visit_is_uploaded_and_read_without_a_wait_within() -> None:
    machine = Machine()
    with machine.installed():
        config = Config("x", "[5]*2", 1, batch_size=BATCH, points=POINTS, backend="triton")
        device = torch.device("cuda")
        state = fresh_state(config, torch.Generator().manual_seed(3)).to(device)
        made = backend.choose(config, device)[0](state, config)
        generator = torch.Generator().manual_seed(4)
        training, validation = (torch.rand((1, 3, count), generator=generator).to(device) for count in (POINTS, 11))
        data, order = Data(training, validation, BATCH), np.tile(np.arange(POINTS), (1, 3, 1))
        with torch.inference_mode():
            made.visit(data, order[:, :1], never)()
            made.visit(data, order, never)()
            queue = torch.cuda.current_stream().queue  # type: ignore[attr-defined]
            assert not queue.works
            before = queue.clock
            report = made.visit(data, order, never)
            assert queue.works
            assert queue.clock == before  # nothing that was asked for had to be done
            report()
            assert not queue.works
    machine.check()


@pytest.fixture(params=["cpu", "eager"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def both(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *words: object
) -> Iterator[tuple[dict[str, object], str]]:
    """What a run leaves, and its log, in visits of one epoch and of more and more."""
    for seconds in (SINGLE, DOUBLING):
        monkeypatch.setattr(pace, "VISIT", seconds)
        place = str(seconds)
        outcome = program("--seed", 1, "--save-interval", 1000, "--no-film", *words, folder=place)
        yield left(outcome, tmp_path / place), outcome.log


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-e", 40, "--checkpoint-interval", 11], "Epoch 40/40"),
        (["-e", 40, "--save-interval", "log", "--kolmogorov-shape", "[4]", "--kolmogorov-weight", 0.1], "Epoch 40/40"),
        (["-s", "[4]*2", "-p", 60, "-e", 40, "--optimizer", "sgd", "-l", 1.2], "in epoch 9, step 2 of 2"),
    ],
    ids=["checkpoints", "frames", "not_finite"],
)
def test_a_run_leaves_the_same(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, words: list[object], said: str
) -> None:
    single, many = both(program, tmp_path, monkeypatch, "--backend", name, *words)
    assert said in single[1]
    assert single[0] == many[0]


# The first of a visit, one within, its last, and the run's last but one.
@pytest.mark.parametrize("end", [8, 11, 15, 39])
def test_a_run_that_stops_in_mid_visit_ends_there(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, end: int
) -> None:
    watched, seen = Watch.epoch, list[int]()

    def epoch(self: Watch, *words: object) -> str | None:
        seen.append(1)
        return "enough" if len(seen) == end else watched(self, *words)  # type: ignore[arg-type]

    monkeypatch.setattr(Watch, "epoch", epoch)
    found = []
    for one, log in both(program, tmp_path, monkeypatch, "--backend", name, "-e", 40):
        assert f"Stopped at epoch {end}: enough" in log
        seen.clear()
        found.append(one)
    assert found[0] == found[1]


def test_a_run_that_stopped_in_mid_visit_goes_on_as_the_straight_one(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(pace, "VISIT", DOUBLING)
    words = ["--seed", 1, "--save-interval", 1000, "--no-film", "--backend", name, "-e", 30]
    assert program(*words, folder="straight").status == 0
    with monkeypatch.context() as patch:
        watched = Watch.epochs
        patch.setattr(Watch, "epochs", lambda self, *words: (5, "enough") if self.losses else watched(self, *words))
        patch.setattr(pace, "VISIT", DOUBLING)
        assert program(*words, folder="resumed").status == 1
    assert program(*words, "--resume", tmp_path / "resumed" / "results", folder="resumed").status == 0
    rows = [next((tmp_path / place).rglob("metrics.csv")).read_text().splitlines() for place in ("straight", "resumed")]
    untimed = [[[*row.split(",")[:5], row.split(",")[6]] for row in found] for found in rows]
    assert untimed[0] == untimed[1]


def test_a_device_that_is_lost_costs_one_visit(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "VISIT", DOUBLING)
    words = ["--seed", 1, "--save-interval", 1000, "--no-film", "--backend", "eager", "-e", 30]
    real = Eager.visit

    def lost(self: Eager, data: Data, orders: np.ndarray, interrupted: Callable[[], bool]) -> object:
        report = real(self, data, orders, interrupted)
        if self.state.epoch == 7:  # of epochs 8 to 15
            raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")
        return report

    with monkeypatch.context() as patch:
        patch.setattr(Eager, "visit", lost)
        outcome = program(*words)
    assert outcome.status == 3
    assert "Failed at epoch 7: the device is lost" in outcome.log
    assert program(*words, "--resume", tmp_path / "out" / "results").status == 0
    assert program(*words, folder="straight").status == 0
    weights = [next((tmp_path / place).rglob("weights_*.txt")).read_text() for place in ("out", "straight")]
    assert weights[0] == weights[1]


def test_a_notebook_that_looks_at_each_epoch_finds_the_state_after_it(small_image: Path) -> None:
    def trained(look: Callable[[Training], None]) -> Training:
        config = Config(str(small_image), "[5]*2", 9, points=100, batch_size=32, seed=1, save_interval=100)
        training = Training.fresh(config)
        for _ in training:
            look(training)
        return training

    seen: list[Tensor] = []
    last = trained(lambda training: seen.append(training.parameters))
    assert len(seen) == 9
    assert len({tuple(flat.tolist()) for flat in seen}) == 9
    assert torch.equal(seen[-1], last.state.main.parameters[0])


@pytest.mark.parametrize("helped", [0, 2**60])
def test_orders_are_the_loaders_whatever_is_prepared(monkeypatch: pytest.MonkeyPatch, helped: int) -> None:
    monkeypatch.setattr(orders, "HELPED", helped)
    torch.manual_seed(5)
    loader = DataLoader(TensorDataset(torch.arange(101)), batch_size=40, shuffle=True)
    generator = torch.Generator().manual_seed(5)
    ours = Orders([generator], 101)
    for count, following in ((1, 2), (2, 4), (3, 1), (5, 0), (1, 1)):
        found = ours.take(count)
        ours.prepare(following)
        expected = torch.stack([torch.cat([batch[0] for batch in loader]) for _ in range(count)])
        assert torch.equal(torch.from_numpy(found)[0], expected)
        assert torch.equal(generator.get_state(), torch.get_rng_state())
    generator.manual_seed(9)  # what was prepared is not for this state
    torch.manual_seed(9)
    assert torch.equal(torch.from_numpy(ours.take(1))[0, 0], torch.cat([batch[0] for batch in loader]))


def test_a_visit_lasts_as_long_as_it_should(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "VISIT", 0.05)
    ours, found = Pace(1000), []
    for _ in range(12):
        found.append(ours.epochs)
        ours.note(ours.epochs, ours.epochs * 2e-4)
    assert found == [1, 2, 4, 8, 16, 32, 64, 128, 250, 250, 250, 250]
    ours.note(250, 5.0)  # a machine that is busy now
    assert ours.epochs == 2
    ours.note(1, 3.0)
    assert ours.epochs == 1
    ours.note(900, 1e-9)
    assert ours.epochs == 1000
    assert pace.most_epochs(10**9) == 1


class Heard(logging.Handler):
    """What someone else subscribed to."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


def test_who_else_listens_hears_each_epoch_with_its_time(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "VISIT", DOUBLING)
    heard, log = Heard(), logging.getLogger("polytope_nn")
    log.addHandler(heard)
    try:
        outcome = program("--seed", 1, "-e", 30, "--save-interval", 1000, "--no-film")
    finally:
        log.removeHandler(heard)
    epochs = [one for one in heard.records if one.getMessage().startswith("Epoch ")]
    formatter = logging.Formatter("%(asctime)s - %(name)s - %(levelname)s - %(message)s")
    assert len(epochs) == 30
    assert all(formatter.format(one) in outcome.log for one in epochs)
    assert [one.created for one in epochs] == sorted(one.created for one in epochs)
    written = [line for line in outcome.log.splitlines() if " - Epoch " in line]
    assert written == [formatter.format(one) for one in epochs]


def test_a_visit_of_backends_that_hear_signals_within_it_is_one_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("draw_poly.engine.backends.cpu.SLICE", 1.0)
    data = Data(torch.rand(1, 3, POINTS), torch.rand(1, 3, 5), BATCH)
    config = Config("x", "[5]*2", 1, batch_size=BATCH, points=POINTS)
    made = backend.choose(config, torch.device("cpu"))[0](fresh_state(config, torch.Generator()), config)
    assert made.most_epochs(data) == 1
    with pytest.raises(ValueError, match="2 epochs were to be one visit"):
        made.visit(data, np.zeros((1, 2, POINTS), np.int64), never)
    assert Eager(made.state, config).most_epochs(data) > 1
