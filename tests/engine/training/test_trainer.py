import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from draw_poly.engine.backends import cpu as cpu_backend
from draw_poly.engine.backends.base import Backend, Interrupted
from draw_poly.engine.backends.cpu import Cpu
from draw_poly.engine.backends.reference import Eager
from draw_poly.engine.config import Config
from draw_poly.engine.data import image
from draw_poly.engine.model.state import Snapshot, State
from draw_poly.engine.training.fresh import fresh_state
from draw_poly.engine.training.trainer import NonFinite, Trainer

PICTURE = image.Picture(((np.arange(900) * 7) % 256).astype(np.uint8).reshape(30, 30))
BACKEND: type[Backend] = Eager
TERM = {"kolmogorov_shape": "[4]", "kolmogorov_weight": 0.2, "kolmogorov_bins": 20}


@pytest.fixture(params=[Cpu, Eager], autouse=True)
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.engine.training.test_trainer.BACKEND", request.param)


def made(**words: object) -> tuple[State, Trainer]:
    config = Config("x", "[5]*2", 1, points=101, batch_size=40, seed=2, **words)  # type: ignore[arg-type]
    state = fresh_state(config, torch.Generator().manual_seed(2))
    split = image.split(PICTURE, 101, 40, np.random.RandomState(2))
    training, validation = (image.samples(PICTURE, part) for part in (split.training, split.validation))
    return state, Trainer(BACKEND(state, config), training, validation, 40)


def test_the_order_is_the_loaders() -> None:
    state, trainer = made()
    torch.manual_seed(5)
    state.generator.manual_seed(5)
    loader = DataLoader(TensorDataset(torch.arange(101)), batch_size=40, shuffle=True)
    for _ in range(3):
        expected = torch.cat([batch[0] for batch in loader])
        assert torch.equal(torch.from_numpy(trainer._orders.take(1)), expected[None, None])


@pytest.mark.parametrize("words", [{}, TERM])
def test_an_epoch_is_three_steps_and_counts_the_short_batch_fully(words: dict[str, object]) -> None:
    state, trainer = made(**words)
    before = state.main.parameters.clone()
    epoch = trainer.epoch()
    assert (state.epoch, state.main.steps) == (1, 3)
    assert not torch.equal(state.main.parameters, before)
    assert epoch.combined == epoch.task + epoch.weighted
    assert (epoch.kolmogorov > 0) == bool(words)
    assert epoch.weighted == pytest.approx(0.2 * epoch.kolmogorov if words else 0.0)


def numbers_of(state: State) -> list[torch.Tensor]:
    return [tensor for one in state.learners for tensor in (one.parameters, one.moments)]


@pytest.mark.parametrize("words", [{}, TERM])
def test_a_snapshot_is_all_that_the_next_epoch_depends_on(words: dict[str, object]) -> None:
    state, trainer = made(**words)
    snapshot = Snapshot(state)
    trainer.epoch()
    snapshot.take()
    snapshot.keep()
    first = trainer.epoch()
    copied, other = made(**words)
    kept = snapshot.state()
    assert (kept.epoch, kept.main.steps) == (1, 3)
    for ours, theirs in zip(numbers_of(copied), numbers_of(kept), strict=True):
        ours.copy_(theirs)
    copied.generator.set_state(kept.generator.get_state())
    for learner in copied.learners:
        learner.steps = kept.main.steps
    again = other.epoch()
    assert (again.task, again.validation) == (first.task, first.validation)
    assert all(torch.equal(a, b) for a, b in zip(numbers_of(state), numbers_of(copied), strict=True))


def test_a_snapshot_that_fails_leaves_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    state, trainer = made()
    trainer.epoch()
    snapshot = Snapshot(state)
    before = [tensor.clone() for tensor in numbers_of(state)]
    trainer.epoch()
    real, copied = torch.Tensor.copy_, list[int]()

    def lost(self: torch.Tensor, *words: object, **named: object) -> torch.Tensor:
        if copied:
            raise torch.AcceleratorError("CUDA error: unspecified launch failure")
        copied.append(1)
        return real(self, *words, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(torch.Tensor, "copy_", lost)
    with pytest.raises(torch.AcceleratorError):
        snapshot.take()
    monkeypatch.undo()
    assert snapshot.state().epoch == 1
    assert all(torch.equal(a, b) for a, b in zip(before, numbers_of(snapshot.state()), strict=True))


def test_an_interrupt_is_heard_between_two_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_backend, "SLICE", 1.0)  # a look before every step
    _, trainer = made()
    answers = iter([False, True])
    with pytest.raises(Interrupted):
        trainer.epoch(lambda: next(answers))


def test_a_loss_that_is_not_finite_is_told_by_its_step() -> None:
    state, trainer = made(optimizer="sgd", learning_rate=1e18)
    with pytest.raises(NonFinite) as stop:
        trainer.epoch()
    assert stop.value.step == 2
    assert str(stop.value) == "step 2 of 3"
    assert (state.epoch, state.main.steps) == (1, 3)


def test_slices_of_an_epoch_are_the_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    state, trainer = made(**TERM)
    whole = trainer.epoch(), trainer.epoch()
    monkeypatch.setattr(cpu_backend, "SLICE", 1.0)
    again, trainer = made(**TERM)
    for first, second in zip(whole, (trainer.epoch(), trainer.epoch()), strict=True):
        assert (first.task, first.kolmogorov, first.validation) == (second.task, second.kolmogorov, second.validation)
    for one, other in zip(state.learners, again.learners, strict=True):
        assert torch.equal(one.parameters, other.parameters)
        assert one.steps == other.steps == 6
