"""Kernels are compiled before the first epoch, those of pictures beside the others, none while epochs are timed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from draw_poly.engine.backends.cpu import Cpu
from draw_poly.engine.backends.reference import Eager
from draw_poly.engine.config import Config
from draw_poly.engine.prepare.rehearsal import Pictures, rehearse
from draw_poly.kernels.compiled import is_kept
from draw_poly.kernels.cpu import draw
from draw_poly.kernels.picture import panels

# Runs the command line with a line for each function that Numba has compiled in this process, in the log's place.
LISTENING = """
import logging, sys
import numba.core.event as event
from draw_poly.cli import main

class Listener(event.Listener):
    def on_start(self, happened):
        logging.getLogger("polytope_nn").info("compiles %s", happened.data["dispatcher"].py_func.__name__)
    def on_end(self, happened):
        pass

event.register("numba:compile", Listener())
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["cpu", "eager"])
def test_a_cold_start_compiles_nothing_once_epochs_are_timed(backend: str, small_image: Path, tmp_path: Path) -> None:
    words = ["-i", small_image, "-s", "[3]*2", "-p", 50, "-b", 20, "-e", 3, "--seed", 1, "--device", "cpu"]
    command = [
        sys.executable,
        "-c",
        LISTENING,
        *words,
        "--backend",
        backend,
        "-o",
        tmp_path,
        "--snapshot-dir",
        tmp_path,
    ]
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "kept")}

    def log() -> list[str]:
        done = subprocess.run(
            list(map(str, command)), env=environment, capture_output=True, text=True, check=False, timeout=900
        )
        assert done.returncode == 0, done.stderr
        return done.stderr.splitlines()

    cold = log()
    (ready,) = [number for number, line in enumerate(cold) if "Kernels are compiled: " in line]
    assert sum("Compiling kernels, once on this machine" in line for line in cold) == 1
    assert any("compiles work" in line for line in cold[:ready]) == (backend == "cpu")
    assert not [line for line in cold[ready:] if "compiles " in line]
    assert not any("compiles cover" in line for line in cold)  # another process did
    command.append("--overwrite")
    assert not [line for line in log() if " compile" in line or "ompiling" in line]


def test_a_warm_start_begins_no_other_process(monkeypatch: pytest.MonkeyPatch) -> None:
    config = Config("x", "[3]", 1, points=40, batch_size=20)
    pictures = Pictures.of(Cpu, config)
    pictures.make()
    assert pictures.are_kept()
    monkeypatch.setattr(subprocess, "Popen", lambda *words, **named: pytest.fail("a process was begun"))
    rehearse(Cpu, config, torch.device("cpu"))


@pytest.mark.parametrize("kind", [Cpu, Eager])
def test_what_is_missing_is_known(kind: type[Cpu] | type[Eager], monkeypatch: pytest.MonkeyPatch) -> None:
    everything = Pictures.of(kind, Config("x", "[3]", 1, snapshot_format="png"))
    everything.make()
    assert everything.are_kept()
    missing = panels.paint
    monkeypatch.setattr("draw_poly.engine.prepare.rehearsal.is_kept", lambda one: one is not missing and is_kept(one))
    assert not everything.are_kept()
    assert Pictures(kind.drawn_by, film=True, files=False, regions=True).are_kept()
    missing = draw.work
    assert everything.are_kept() == (kind is Eager)


def test_pictures_are_made_here_where_the_other_process_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    monkeypatch.setattr("draw_poly.engine.prepare.rehearsal.is_kept", lambda one: False)
    monkeypatch.setattr("draw_poly.engine.allowance.cores", lambda: 2)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    monkeypatch.setattr(Pictures, "make", lambda self: made.append(self.drawn_by))
    rehearse(Eager, Config("x", "[3]", 1), torch.device("cpu"))
    assert made == ["points"]
