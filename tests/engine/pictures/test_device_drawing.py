"""A picture drawn by the device's grid kernel is the one drawn by halving tiles."""

import numpy as np
import pytest
import torch

from draw_poly.engine.backends.reference import Eager
from draw_poly.engine.config import Config
from draw_poly.engine.pictures.device_drawing import DeviceRasterizer
from draw_poly.engine.pictures.drawing import AdaptiveRasterizer
from draw_poly.engine.training.fresh import fresh_state
from tests.conftest import INTERPRETED, slow

pytestmark = INTERPRETED
CONFIG = Config("x.png", "[7]*3", 1, seed=1)


def rasterizer(width: int, height: int, chunk: int, colours: bool = False, scale: float = 1.0) -> DeviceRasterizer:
    from draw_poly.engine.backends.triton import Triton

    state = fresh_state(CONFIG, torch.Generator().manual_seed(5))
    state.main.parameters.mul_(scale)
    return DeviceRasterizer(Triton(state, CONFIG), width, height, chunk, colours)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 40), (40, 1), (67, 45)])
@pytest.mark.parametrize(("chunk", "part"), [(131072, 2**22), slow(100, 300)])
def test_it_draws_what_halving_tiles_draws(
    monkeypatch: pytest.MonkeyPatch, width: int, height: int, chunk: int, part: int
) -> None:
    monkeypatch.setattr("draw_poly.engine.pictures.device_drawing.PART", part)
    ours = rasterizer(width, height, chunk, colours=True)
    drawing = ours.draw()
    drawing.arrive()
    eager = Eager(fresh_state(CONFIG, torch.Generator().manual_seed(5)), CONFIG)
    expected = AdaptiveRasterizer(eager, width, height, 131072, colours=True).draw()
    assert np.array_equal(drawing.edges, expected.edges)
    assert np.array_equal(drawing.colours, expected.colours)
    assert drawing.polytopes == expected.polytopes
    # Truncation: an output within rounding of a whole level may fall to either side.
    assert np.abs(drawing.gray.astype(int) - expected.gray).max() <= 1
    assert (drawing.gray != expected.gray).mean() < 0.01
    assert drawing.lowest == pytest.approx(expected.lowest, abs=1e-6)
    assert drawing.highest == pytest.approx(expected.highest, abs=1e-6)
    assert drawing.evaluations == width * height


def test_what_is_not_finite_is_black_or_white_and_tells() -> None:
    with np.errstate(all="ignore"):
        drawing = rasterizer(9, 5, 1000, scale=float("nan")).draw()
    assert not drawing.gray.any()
    assert np.isnan(drawing.lowest)
    with np.errstate(all="ignore"):
        huge = rasterizer(9, 5, 1000, scale=3e37).draw()
    assert set(np.unique(huge.gray)) <= {0, 255}


def test_out_of_memory_halves_the_rows_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = rasterizer(40, 32, 40 * 32)
    real, rows = ours._backend.evaluate_grid, list[int]()

    def full(size, top, outputs, signatures, edges) -> None:  # type: ignore[no-untyped-def]
        rows.append(edges.shape[1])
        if edges.shape[1] > 10:
            raise torch.OutOfMemoryError("CUDA out of memory")
        real(size, top, outputs, signatures, edges)

    expected = ours.draw()
    monkeypatch.setattr(ours._backend, "evaluate_grid", full)
    for _ in range(2):
        assert np.array_equal(ours.draw().edges, expected.edges)
    assert [count for count in rows if count > 10] == [32, 16]
    monkeypatch.setattr(ours._backend, "evaluate_grid", lambda *_: full((0, 0), 0, 0, 0, np.empty((1, 11, 1))))
    with pytest.raises(torch.OutOfMemoryError):
        ours.draw()
