"""Learning rates that go with the steps: PyTorch's own, on every backend, over resumes and in sweeps."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler

from draw_poly.engine.backends import select as backend
from draw_poly.engine.backends.base import Data, never
from draw_poly.engine.config import Config
from draw_poly.engine.training.fresh import fresh_state
from draw_poly.kernels.spec import SCHEDULES, Optimizer, RateSchedule
from tests.conftest import INTERPRETED, Program, slow
from tests.epochs import DOUBLING
from tests.simulated import Machine

STEPS, WARMUP = 40, 6
PEERS: dict[str, Callable[[Any, int], Any]] = {
    "cosine": lambda one, steps: lr_scheduler.CosineAnnealingLR(one, steps, eta_min=0.001),
    "linear": lambda one, steps: lr_scheduler.LinearLR(one, 1.0, 0.1, steps),
    "step": lambda one, steps: lr_scheduler.MultiStepLR(one, [steps // 2, 3 * steps // 4]),
    "constant": lambda one, steps: lr_scheduler.ConstantLR(one, 1.0),
}
WORDS: dict[str, object] = {"schedule": "cosine", "warmup": 1, "final_lr": 1e-4, "epochs": 6, "learning_rate": 0.01}
FLAGS: list[object] = ["-e", 6, "-l", 0.01, "--schedule", "cosine", "--warmup", 1, "--final-lr", 1e-4, "--seed", 1]


@pytest.mark.parametrize("kind", [kind for kind in SCHEDULES if kind != "plateau"])
def test_rates_are_pytorchs(kind: str) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.01)
    peer = PEERS[kind](optimizer, STEPS)
    expected = []
    for _ in range(STEPS):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        peer.step()
    final = {"step": 0.0}.get(kind, 0.1)
    ours = RateSchedule(kind, STEPS, 0, final).rates(0.01, range(STEPS))
    np.testing.assert_allclose(ours, expected, rtol=1e-12)
    warm = RateSchedule(kind, STEPS + WARMUP, WARMUP, final).rates(0.01, range(STEPS + WARMUP))
    np.testing.assert_allclose(warm[:WARMUP], 0.01 * np.arange(1, WARMUP + 1) / (WARMUP + 1), rtol=1e-12)
    np.testing.assert_array_equal(warm[WARMUP:], ours)
    parts = [RateSchedule(kind, STEPS, 2, final).rates(0.01, range(first, first + 8)) for first in range(0, STEPS, 8)]
    np.testing.assert_array_equal(np.concatenate(parts), RateSchedule(kind, STEPS, 2, final).rates(0.01, range(STEPS)))


@pytest.mark.parametrize("final", [0.0, 0.004])
def test_a_plateaus_rates_are_pytorchs(final: float) -> None:
    generator = np.random.default_rng(1)
    losses = np.concatenate(
        (np.linspace(1, 0.5, 15), 0.5 + 0.1 * generator.random(40), np.full(9, np.nan), np.full(30, 0.49))
    )
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.01)
    peer = lr_scheduler.ReduceLROnPlateau(optimizer, min_lr=final)
    ours, rates = Optimizer("sgd", 0.01, schedule=RateSchedule("plateau", 1, 0, final / 0.01)), []
    for loss in losses.tolist():
        rates.append(ours.table(range(1, 4))[:, 0].tolist())
        assert rates[-1] == pytest.approx(3 * [optimizer.param_groups[0]["lr"]], rel=1e-12)
        peer.step(loss)
        ours = ours.after(loss)
    falls = len({one[0] for one in rates}) - 1
    assert falls == 1 if final else falls > 2


PLATEAU: list[object] = ["-l", 0.1, "--schedule", "plateau", "--final-lr", 1e-4, "--seed", 1]


def test_a_plateau_is_exact_over_a_resume(program: Program, tmp_path: Path) -> None:
    from tests.engine.prepare.test_resume import assert_same_run, content, newest

    assert program(*PLATEAU, "-e", 40, folder="whole").status == 0
    assert program(*PLATEAU, "-e", 17, folder="half").status == 0
    resumed = program(*PLATEAU, "-e", 40, "--resume", tmp_path / "half" / "results", folder="half")
    assert resumed.status == 0, resumed.log
    assert_same_run(tmp_path / "whole", tmp_path / "half")
    (way,) = content(newest(tmp_path / "whole"))["rates"]
    assert way["reached"] < 0.1


def test_a_step_falls_no_lower_than_the_final_rate() -> None:
    rates = RateSchedule("step", 100, 0, 0.05).rates(2.0, range(100))
    assert (rates[0], rates[50], rates[99]) == (2.0, pytest.approx(0.2), pytest.approx(0.1))


def trained(name: str, device: str, **words: object) -> torch.Tensor:
    """Parameters after six epochs of three steps, in visits of 1, 2 and 3 of them."""
    config = Config("x", "[5]*2", batch_size=32, points=70, backend=name, **{**WORDS, **words})  # type: ignore[arg-type]
    state = fresh_state(config, torch.Generator().manual_seed(3)).to(torch.device(device))
    made = backend.choose(config, torch.device(device))[0](state, config)
    generator = torch.Generator().manual_seed(4)
    training, validation = (torch.rand((1, 3, count), generator=generator).to(device) for count in (70, 11))
    data = Data(training, validation, 32)
    with torch.inference_mode():
        for count in (1, 2, 3):
            orders = np.stack([torch.randperm(70, generator=generator).numpy() for _ in range(count)])[None]
            made.visit(data, orders, never)()
            state.epoch += count
    return state.main.parameters.cpu()


def by_torch(optimizer: str) -> torch.Tensor:
    """The same by PyTorch's optimiser, the rate of each step set by hand."""
    config = Config("x", "[5]*2", batch_size=32, points=70, optimizer=optimizer, **WORDS)  # type: ignore[arg-type]
    flat = fresh_state(config, torch.Generator().manual_seed(3)).main.parameters[0]
    parts = [torch.nn.Parameter(one.clone()) for one in flat.split([10, 5, 25, 5, 5, 1])]
    generator = torch.Generator().manual_seed(4)
    points, _ = (torch.rand((1, 3, count), generator=generator)[0] for count in (70, 11))
    kind = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[optimizer](parts, lr=0.01)
    rates = iter(RateSchedule("cosine", 18, 3, 0.01).rates(0.01, range(18)))
    for _ in range(6):
        order = torch.randperm(70, generator=generator)
        for batch in points[:, order].split(32, 1):
            hidden = batch[:2]
            for layer, shape in enumerate([(5, 2), (5, 5), (1, 5)]):
                hidden = parts[2 * layer].view(shape) @ hidden + parts[2 * layer + 1][:, None]
                hidden = torch.nn.functional.leaky_relu(hidden) if layer < 2 else hidden
            kind.zero_grad()
            torch.nn.functional.mse_loss(hidden, batch[2:]).backward()
            kind.param_groups[0]["lr"] = next(rates)
            kind.step()
    return torch.cat([one.detach().reshape(-1) for one in parts])[None]


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("name", ["cpu", "eager", slow("compile")])
def test_every_backend_steps_at_the_rate(name: str, optimizer: str) -> None:
    torch.testing.assert_close(trained(name, "cpu", optimizer=optimizer), by_torch(optimizer), rtol=2e-5, atol=2e-6)
    constant = trained(name, "cpu", optimizer=optimizer, schedule="constant", final_lr=0.0, warmup=0)
    assert (constant - by_torch(optimizer)).abs().max() > 1e-4


@INTERPRETED
def test_captured_graphs_follow_it() -> None:
    machine = Machine()
    with machine.installed():
        found = trained("triton", "cuda")
    machine.check()
    assert machine.replays
    torch.testing.assert_close(found, by_torch("adam"), rtol=2e-5, atol=2e-6)


def lines(log: str) -> list[str]:
    return re.findall(r"Epoch \d+/.*", log)


@pytest.mark.parametrize("name", ["cpu", "eager"])
def test_a_resume_goes_on_at_the_rate(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("draw_poly.engine.training.pace.VISIT", DOUBLING)
    words = [*FLAGS, "--backend", name]
    straight = program(*words, folder="straight")
    assert "Learning rate: 0.01, grown to in 1 epochs, cosine to 0.0001 at epoch 6" in straight.log
    with monkeypatch.context() as patch:
        from draw_poly.engine.training.watch import Watch

        watched = Watch.epoch
        patch.setattr(Watch, "epoch", lambda self, *rest: "enough" if len(self.losses) == 3 else watched(self, *rest))
        assert program(*words, folder="resumed").status == 1
    again = program(*words, "--resume", tmp_path / "resumed" / "results", folder="resumed")
    assert lines(again.log) == lines(straight.log)[4:]
    longer = program(*words, "-e", 8, "--resume", tmp_path / "resumed" / "results", folder="resumed")
    assert "The cosine schedule goes over 8 epochs, in place of 6" in longer.log
    other = program(*FLAGS, "--schedule", "linear", "--backend", name, "--resume", tmp_path / "straight" / "results",
                    "-e", 8, folder="straight")  # fmt: skip
    assert "Changing --schedule from cosine to linear" in other.log


def test_members_of_a_sweep_have_schedules_of_their_own(program: Program, tmp_path: Path) -> None:
    words = ["--vary", "schedule=constant,linear", "--vary", "warmup=0,2", "--seed", 1, "-e", 6]
    assert program(*words).status == 0
    for kind in ("constant", "linear"):
        assert program("--seed", 1, "-e", 6, "--schedule", kind, "--warmup", 2, folder=kind).status == 0
        (alone,) = (tmp_path / kind / "results").glob("weights_*.txt")
        (ours,) = (tmp_path / "out" / "results").glob(f"sweep_*/*schedule={kind}*warmup=2*/weights_*.txt")
        assert ours.read_text() == alone.read_text()


def test_each_member_of_a_sweep_has_a_plateau_of_its_own(program: Program, tmp_path: Path) -> None:
    words: list[object] = ["-l", 0.1, "--schedule", "plateau", "-e", 30]
    assert program(*words, "--vary", "seed=1..3").status == 0
    ways = []
    for seed in range(1, 4):
        assert program(*words, "--seed", seed, folder=str(seed)).status == 0
        (alone,) = (tmp_path / str(seed) / "results").glob("checkpoint_*.pt")
        (ours,) = (tmp_path / "out" / "results").glob(f"sweep_*/*seed={seed}*/checkpoint_*.pt")
        one, two = (torch.load(path, weights_only=False) for path in (alone, ours))
        assert one["rates"] == two["rates"]
        for name, value in one["model_state_dict"].items():
            assert torch.equal(value, two["model_state_dict"][name])
        ways.append(tuple(one["rates"][0].values()))
    assert len(set(ways)) == 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--schedule", "often"], "choose from 'constant', 'cosine', 'linear', 'step'"),
        (["--warmup", 4], "--warmup was 4, and --epochs 4: give fewer than those"),
        (["--final-lr", 0.1], "--final-lr is what a schedule ends with, and this run has none: give --schedule too"),
    ],
)
def test_what_cannot_be_is_a_sentence(program: Program, words: list[object], said: str) -> None:
    outcome = program(*words)
    assert outcome.status == 2
    assert said in outcome.log


def test_a_schedule_is_one_of_those_there_are() -> None:
    with pytest.raises(ValueError, match="no schedule is called 'often'"):
        Optimizer("adam", 0.1, schedule=RateSchedule("often"))
