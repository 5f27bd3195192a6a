"""What fails in a run: what is said, what is saved, and with which status it ends."""

import errno
import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from draw_poly.engine.backends.base import never
from draw_poly.engine.backends.reference import Eager
from draw_poly.engine.prepare.rehearsal import Pictures
from draw_poly.engine.training import setup
from draw_poly.engine.training.trainer import Launched, Trainer
from tests.conftest import Program


def test_a_disk_full_at_the_beginning_is_a_sentence(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    outcome = program("--seed", 1)
    assert outcome.status == 3
    assert "The run cannot begin: " in outcome.log
    assert re.search(r"out/\S+ cannot be written \(No space left on device\)", outcome.log)
    assert "Traceback" not in outcome.log


def test_a_log_file_that_fills_its_disk_does_not_stop_the_run(program: Program) -> None:
    outcome = program("--seed", 1, "--log-file", "/dev/full")
    assert outcome.status == 0
    assert outcome.log.count("--log-file /dev/full cannot be written any more") == 1
    assert "Traceback" not in outcome.log


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_state(program: Program, tmp_path: Path) -> None:
    outcome = program("--seed", 1, "--optimizer", "sgd", "-l", 1e18)
    assert outcome.status == 1
    assert "Stopped at epoch 0: the loss was not finite in epoch 1, step 2 of 4" in outcome.log
    assert "completed successfully" not in outcome.log
    (weights,) = (tmp_path / "out" / "results").glob("weights_*")
    assert np.isfinite(np.loadtxt(weights)).all()


def test_a_loop_stops_at_its_true_epoch(program: Program, tmp_path: Path) -> None:
    outcome = program("--seed", 1, "-l", 1e-30, "-e", 50)
    assert outcome.status == 1
    assert "Stopped at epoch 2: the optimisation loops" in outcome.log
    (stored,) = (tmp_path / "out" / "results").glob("checkpoint_*_epoch_000001.pt")
    assert torch.load(stored, weights_only=False)["epoch"] == 1


@pytest.mark.parametrize("failing", ["png", "txt", "pt"])
def test_a_failed_write_stops_with_its_reason_after_a_checkpoint(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    real, failed = os.replace, list[str]()

    def full(source: object, target: object) -> None:
        name = str(target)
        if name.endswith({"png": "000003.png", "txt": ".txt", "pt": "000013.pt"}[failing]) and not failed[:1]:
            if failing == "pt":  # the final one may be written again
                failed.append(name)
            raise OSError(errno.ENOSPC, "No space left on device", str(target))
        real(source, target)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "replace", full)
    outcome = program("--seed", 1, "-e", 40, "--checkpoint-interval", 14)
    assert outcome.status == 3
    assert outcome.log.count("No space left on device") == 1
    assert "Traceback" not in outcome.log
    saved = list((tmp_path / "out" / "results").glob("checkpoint_*.pt"))
    assert saved
    if failing == "png":
        assert "Failed at epoch" in outcome.log
        assert int(re.findall(r"Epoch (\d+)/", outcome.log)[-1]) < 10


def test_an_unforeseen_failure_saves_the_last_finished_epoch(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing(Trainer):
        def launch(self, interrupted: Callable[[], bool] = never, epochs: int = 1, following: int = 1) -> Launched:
            result = super().launch(interrupted, epochs, following)
            if self._state.epoch == 3:
                raise RuntimeError("the device is gone")
            return result

    monkeypatch.setattr(setup, "Trainer", Failing)
    outcome = program("--seed", 1)
    assert outcome.status == 3
    assert "Failed at epoch 2: RuntimeError: the device is gone" in outcome.log
    assert list((tmp_path / "out" / "results").glob("checkpoint_*_epoch_000001.pt"))


@pytest.mark.parametrize(("when", "saved"), [("visit", 2), ("evaluate", 3)])
def test_a_device_that_vanishes_leaves_the_last_finished_epoch(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str, saved: int
) -> None:
    """Within epoch 3, or while its frame is drawn; what the device held is lost."""
    words = ["--seed", 1, "--backend", "eager", "--checkpoint-interval", 1]
    assert program(*words, folder="whole").status == 0
    real = getattr(Eager, when)

    def lost(self: Eager, *rest: object) -> object:
        if self.state.epoch >= saved:
            for tensor in (self.state.main.parameters, self.state.main.moments, self.state.coefficients):
                tensor.fill_(-1)
            raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered\nCompile with more.")
        return real(self, *rest)

    monkeypatch.setattr(Eager, when, lost)
    outcome = program(*words, "--checkpoint-interval", 10)
    assert outcome.status == 3
    said = f"Failed at epoch {saved}: the device is lost (CUDA error: an illegal memory access was encountered)"
    assert outcome.log.count(said) == outcome.log.count("CUDA error") == 1
    assert "Traceback" not in outcome.log
    (ours,) = (tmp_path / "out" / "results").glob("checkpoint_*.pt")
    kept, whole = (torch.load(path, weights_only=False) for path in
                   (ours, tmp_path / "whole" / "results" / ours.name))  # fmt: skip
    assert kept["epoch"] == saved - 1
    for name, tensor in whole["model_state_dict"].items():
        assert torch.equal(kept["model_state_dict"][name], tensor)
    for index, moments in whole["optimizer_state_dict"]["state"].items():
        assert torch.equal(kept["optimizer_state_dict"]["state"][index]["exp_avg_sq"], moments["exp_avg_sq"])


def test_a_device_too_small_for_a_frame_draws_it_in_parts(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Eager.evaluate

    def full(self: Eager, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if inputs.shape[-1] > 20:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return real(self, inputs)

    monkeypatch.setattr(Pictures, "are_kept", lambda self: True)  # nothing is drawn to have it compiled
    monkeypatch.setattr(Eager, "evaluate", full)
    outcome = program("--seed", 1, "--backend", "eager")
    assert outcome.status == 0
    assert (
        1
        <= len(re.findall(r"WARNING - Out of memory with \d+ points evaluated at once: going on with", outcome.log))
        < 6
    )
