"""A last batch of fewer points than a vector holds: its step is right, whatever lies beside its data."""

import re
from pathlib import Path

import pytest

from tests.conftest import Program


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["compile", "cpu"])
def test_a_short_last_batch_is_stepped_alike(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "torch"))
    found = []
    for name in ("eager", backend):
        outcome = program("-e", 1, "--seed", 1546029886, "--no-film", "--backend", name, folder=name)
        assert outcome.status == 0, outcome.log
        found += [float(loss) for loss in re.findall(r"Val Loss: ([\d.]+)", outcome.log)]
    assert found[1] == pytest.approx(found[0], abs=2e-6)
