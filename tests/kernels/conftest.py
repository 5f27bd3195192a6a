"""Which arithmetic answers the operator's tests."""

import pytest

from tests.conftest import INTERPRETED


@pytest.fixture(params=["reference", pytest.param("triton", marks=INTERPRETED)])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Which of the operator's two ways is taken: on a CPU, Triton's only under the interpreter."""
    if request.param == "reference":
        monkeypatch.setattr("draw_poly.kernels.operator.unsupported_on_gpu", lambda *given: "not asked for")
    return str(request.param)
