"""What only a GPU can show: kernels compiled and captured, frames that cross while training goes on."""

import re
from pathlib import Path

import pytest
import torch

from benches import verify_kernels
from benches.alone import Alone
from draw_poly.engine.backends import select as backend
from draw_poly.engine.backends.base import Data, never
from draw_poly.engine.backends.cuda_graph import Graphed
from draw_poly.engine.config import Config
from draw_poly.engine.training.fresh import fresh_state
from draw_poly.engine.training.trainer import Trainer
from tests.conftest import Program
from tests.test_parity import CASES, assert_parity
from tests.test_run_ahead import left

pytestmark = pytest.mark.gpu
DEVICE = torch.device("cuda", 0)
WITH_TERM = {"kolmogorov_shape": "[8, 8]", "kolmogorov_weight": 0.05, "kolmogorov_bins": 64}


@pytest.fixture(autouse=True)
def _nothing_compiled() -> None:
    torch._dynamo.reset()  # a function is compiled for so many runs and no more


@pytest.mark.parametrize("precision", ["fp32", "tf32"])
def test_every_kernel_is_right_on_the_device(precision: str) -> None:
    from draw_poly.kernels import gpu

    wrong = [row for row in verify_kernels.rows(Alone(gpu), DEVICE, precision) if not row.passed]
    assert not wrong


@pytest.mark.parametrize("words", [{}, WITH_TERM, {"optimizer": "sgd_momentum"}])
@pytest.mark.parametrize("name", ["triton", "compile"])
def test_replayed_epochs_are_launched_ones_to_the_bit(
    monkeypatch: pytest.MonkeyPatch, name: str, words: dict[str, object]
) -> None:
    config = Config("x", "[10]*8", 1, points=500, batch_size=128, backend=name, **words)  # type: ignore[arg-type]
    kind, _ = backend.choose(config, DEVICE)
    assert issubclass(kind, Graphed)
    generator = torch.Generator().manual_seed(4)
    data = Data(
        torch.rand((1, 3, 500), generator=generator).cuda(), torch.rand((1, 3, 90), generator=generator).cuda(), 128
    )
    orders = [torch.randperm(500, generator=generator)[None] for _ in range(6)]
    runs = []
    for most in (kind.most_captured, 3, 1, 0):
        monkeypatch.setattr(kind, "most_captured", max(most, 1))
        if not most:
            monkeypatch.setattr(kind, "_capture", lambda self, room, window: None)
        state = fresh_state(config, torch.Generator().manual_seed(3)).to(DEVICE)
        made = kind(state, config)
        with torch.inference_mode():
            reports, ahead = [], made.visit(data, orders[0].numpy()[:, None], never)
            for order in orders[1:]:  # each is read when the next is on its way
                before, ahead = ahead, made.visit(data, order.numpy()[:, None], never)
                reports.append(before().numbers.tolist())
            reports.append(ahead().numbers.tolist())
        assert len(made._replays) == {0: 0, 1: 2, 3: 2}.get(most, 1)
        runs.append((reports, [one.parameters.cpu() for one in state.learners]))
    for other in runs[1:]:
        assert runs[0][0] == other[0]
        assert all(torch.equal(a, b) for a, b in zip(runs[0][1], other[1], strict=True))


@pytest.mark.parametrize("name", sorted(CASES))
@pytest.mark.parametrize("backend", ["triton", "compile"])
def test_a_run_prints_the_originals_losses(program: Program, tmp_path: Path, name: str, backend: str) -> None:
    assert_parity(program, tmp_path, CASES[name], False, backend, device="cuda")


@pytest.mark.parametrize("backend", ["triton", "compile"])
def test_a_device_that_runs_ahead_leaves_what_one_leaves_that_waits(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    words = ["--seed", 1, "-e", 60, "--save-interval", 25, "--checkpoint-interval", 10, "--device", "cuda"]
    found = []
    for runs_ahead in (True, False):
        monkeypatch.setattr(Trainer, "runs_ahead", runs_ahead)
        outcome = program(*words, "--backend", backend, folder=str(runs_ahead))
        assert outcome.status == 0, outcome.log
        assert "one replay of a CUDA graph from here on" in outcome.log
        found.append(left(outcome, tmp_path / str(runs_ahead)))
    assert found[0] == found[1]


def test_the_kernels_are_chosen_and_a_frame_is_the_cpus(program: Program, tmp_path: Path) -> None:
    logs = []
    for device in ("cuda", "cpu"):
        outcome = program("--seed", 1, "-e", 3, "--device", device, "--colour-regions", folder=device)
        assert outcome.status == 0, outcome.log
        logs.append(outcome.log)
    assert "Backend: triton on cuda" in logs[0]
    polytopes = [re.findall(r"(\d+) polytopes", log) for log in logs]
    assert polytopes[0] == polytopes[1]


def test_a_device_that_is_not_there_is_refused(program: Program) -> None:
    outcome = program("--device", "cuda:99")
    assert outcome.status == 2
    assert "'cuda:99', but this machine has" in outcome.log
