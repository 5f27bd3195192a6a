"""A run from a notebook whose torch is set in other ways: the same numbers, and the notebook finds its state again."""

import csv
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from draw_poly.engine.config import Config
from draw_poly.engine.run import run
from tests.conftest import slow


@contextmanager
def switched(switch: Callable[[Any], object], there: Any, back: Any) -> Iterator[None]:
    switch(there)
    try:
        yield
    finally:
        switch(back)


Around = Callable[[], AbstractContextManager[object]]
AROUND: dict[str, Around] = {
    "default dtype float64": lambda: switched(torch.set_default_dtype, torch.float64, torch.float32),
    "default dtype bfloat16": lambda: switched(torch.set_default_dtype, torch.bfloat16, torch.float32),
    "default device meta": lambda: switched(torch.set_default_device, "meta", None),
    "within a device": lambda: torch.device("meta"),
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "coarser products": lambda: switched(torch.set_float32_matmul_precision, "medium", "highest"),
    "deterministic": lambda: switched(torch.use_deterministic_algorithms, True, False),
    "inference": torch.inference_mode,
    "no gradients": torch.no_grad,
    "many threads": lambda: switched(torch.set_num_threads, 20_000, 1),
}


def state() -> tuple[Any, ...]:
    return (
        torch.get_default_dtype(), torch.empty(0).device, torch.is_autocast_enabled("cpu"),
        torch.get_float32_matmul_precision(), torch.are_deterministic_algorithms_enabled(),
        torch.is_inference_mode_enabled(), torch.is_grad_enabled(), torch.get_num_threads(),
    )  # fmt: skip


def losses(image: Path, folder: Path, backend: str) -> list[list[str]]:
    config = Config(
        str(image), "[5]*3", 2, seed=1, points=100, batch_size=32, backend=backend, device="cpu", quiet=True,
        kolmogorov_shape="[4]", kolmogorov_weight=0.1, output_dir=str(folder), snapshot_dir=str(folder),
    )  # fmt: skip
    assert run(config) == 0
    (metrics,) = folder.rglob("metrics.csv")
    return [row[:5] for row in csv.reader(metrics.read_text().splitlines())]


@pytest.mark.usefixtures("sketches")
@pytest.mark.parametrize("backend", [slow("cpu"), "eager"])  # what asks torch for the most
def test_a_run_is_the_same_whatever_torch_is_set_to(backend: str, small_image: Path, tmp_path: Path) -> None:
    plain = losses(small_image, tmp_path / "plain", backend)
    assert len(plain) == 3
    for name, around in AROUND.items():
        with around():
            before = state()
            assert losses(small_image, tmp_path / name, backend) == plain, name
            assert state() == before, name
