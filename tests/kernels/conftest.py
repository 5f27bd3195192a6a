"""Which arithmetic answers the tests of the operator and of the fused kernels."""

import importlib

import pytest

from benches.alone import Alone
from tests.conftest import INTERPRETED
from tests.kernels.fused import PACKAGES


@pytest.fixture(params=["reference", pytest.param("triton", marks=INTERPRETED)])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Which of the operator's two ways is taken: on a CPU, Triton's only under the interpreter."""
    if request.param == "reference":
        monkeypatch.setattr("draw_poly.kernels.operator.unsupported_on_gpu", lambda *given: "not asked for")
    return str(request.param)


@pytest.fixture(params=PACKAGES)
def package(request: pytest.FixtureRequest) -> Alone:
    return Alone(importlib.import_module(f"draw_poly.kernels.{request.param}"))


@pytest.fixture
def cpu() -> Alone:
    """For what only makes sense at a size that an interpreter cannot run, or of threads."""
    return Alone(importlib.import_module("draw_poly.kernels.cpu"))
