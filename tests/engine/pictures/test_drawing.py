"""A drawing is that of every pixel evaluated, whatever the network."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from draw_poly.engine.backends.base import Backend
from draw_poly.engine.backends.cpu import Cpu
from draw_poly.engine.backends.reference import Eager
from draw_poly.engine.config import Config
from draw_poly.engine.data.image import Picture, samples, split
from draw_poly.engine.model import initialisation as network
from draw_poly.engine.model.state import State
from draw_poly.engine.pictures import drawing
from draw_poly.engine.pictures.cpu_drawing import CpuRasterizer
from draw_poly.engine.pictures.drawing import AdaptiveRasterizer
from draw_poly.engine.pictures.select import rasterizer_for
from draw_poly.engine.training.fresh import fresh_state
from draw_poly.engine.training.trainer import Trainer
from draw_poly.kernels.cpu import Rasterizer, draw
from draw_poly.kernels.spec import leaky_relu
from tests.conftest import rows

KERNEL = 0  # in place of a tile's side: the drawing is the CPU kernel's
CONFIG = Config("x.png", "[10]*4", 1, seed=1, points=500, batch_size=100)


def fresh(seed: int, config: Config = CONFIG) -> State:
    return fresh_state(config, torch.Generator().manual_seed(seed))


def trained(seed: int, config: Config = CONFIG) -> State:
    """After a hundred epochs on a disc."""
    y, x = np.mgrid[:64, :64]
    picture = Picture(((np.hypot(x - 30, y - 25) < 20) * 200).astype(np.uint8))
    points = split(picture, config.points, config.batch_size, np.random.RandomState(seed))
    made = Eager(fresh(seed, config), config)
    trainer = Trainer(made, samples(picture, points.training), samples(picture, points.validation), config.batch_size)
    with torch.inference_mode():
        for _ in range(100):
            trainer.epoch()
    return made.state


def with_parameters(change: Callable[[torch.Tensor], object]) -> State:
    made = fresh(1)
    change(made.main.parameters[0])
    return made


NETWORKS = {
    "fresh": lambda: fresh(1),
    "another": lambda: fresh(2),
    "trained": lambda: trained(3),
    "one value everywhere": lambda: with_parameters(lambda flat: flat.zero_()),
    "steep": lambda: with_parameters(lambda flat: flat.mul_(4)),
    "as large as float32 holds": lambda: with_parameters(lambda flat: flat.mul_(2e7)),
    "tiny": lambda: with_parameters(lambda flat: flat.mul_(1e-4)),
    "along the axes": lambda: with_parameters(lambda flat: flat[:20:2].zero_()),
}


def every_pixel(
    one: State, width: int, height: int, config: Config = CONFIG
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
    """By torch's own functions in float64, pixel by pixel: outputs, patterns, and how near zero a pre-activation is.

    The last in units of rounding: 1 where a float32 may have the other sign.
    """
    y, x = torch.meshgrid(torch.arange(height).double() / height, torch.arange(width).double() / width, indexing="ij")
    hidden = torch.stack((x.reshape(-1), y.reshape(-1)), 1)
    names = [str(index) for index in range(len(config.network.shapes))]
    views = list(network.named_views(one.main.parameters[0].double(), config.network, names).values())
    patterns = []
    nearest = torch.full((width * height,), float("inf"), dtype=torch.float64)
    error = hidden.abs() * 2**-24
    for index in range(0, len(views) - 2, 2):
        weight, bias = views[index], views[index + 1]
        before = torch.nn.functional.linear(hidden, weight, bias)
        # A sum of n products is rounded n times; what was rounded before comes on top.
        size = torch.nn.functional.linear(hidden.abs(), weight.abs(), bias.abs())
        error = torch.nn.functional.linear(error, weight.abs()) + size * (weight.shape[1] + 1) * 2**-24
        nearest = torch.minimum(nearest, (before.abs() / error.clamp_min(1e-300)).amin(1))
        patterns.append(before > 0)
        hidden = torch.nn.functional.leaky_relu(before, 0.01)
    outputs = torch.nn.functional.linear(hidden, views[-2], views[-1])
    _, regions = torch.unique(torch.cat(patterns, 1), dim=0, return_inverse=True)
    shape = height, width
    return outputs.view(shape).numpy(), regions.view(shape).numpy(), nearest.view(shape).numpy()


def neighbours_differ(regions: NDArray[np.int64]) -> NDArray[np.bool_]:
    height, width = regions.shape
    differ = np.zeros(regions.shape, bool)
    for i in range(height):
        for j in range(width):
            around = [(i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1)]
            differ[i, j] = any(regions[a, b] != regions[i, j] for a, b in around if 0 <= a < height and 0 <= b < width)
    return differ


def drawn(
    one: State, width: int, height: int, tile: int = KERNEL, chunk: int = 131072, colours: bool = False
) -> drawing.Drawing:
    with torch.inference_mode():
        if tile == KERNEL:
            return CpuRasterizer(Cpu(one, CONFIG), width, height, colours).draw()
        return AdaptiveRasterizer(Eager(one, CONFIG), width, height, chunk, colours, tile).draw()


@pytest.mark.parametrize(("width", "height"), [(61, 47), (1, 90), (90, 1), (2, 2), (64, 32), (33, 65)])
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(("tile", "chunk"), [(KERNEL, 0), (32, 131072), (32, 37), (4, 131072), (1, 131072), (1, 37)])
def test_every_pixel_is_drawn_at_its_own_place(width: int, height: int, seed: int, tile: int, chunk: int) -> None:
    one = fresh(seed)
    made = drawn(one, width, height, tile, chunk)
    outputs, regions, _ = every_pixel(one, width, height)
    gray = np.clip(255 * outputs, 0, 255)
    # Truncation: a value within float32's rounding of a whole number may fall to either side.
    near_whole = np.abs(gray - np.rint(gray)) < 1e-3
    assert np.array_equal(made.gray[~near_whole], gray[~near_whole].astype(np.uint8))
    assert np.abs(made.gray.astype(int) - gray).max() < 1.001
    assert np.array_equal(made.boundaries, neighbours_differ(regions))
    assert made.polytopes == len(np.unique(regions))
    assert made.lowest == pytest.approx(outputs.min(), abs=1e-5)
    assert made.highest == pytest.approx(outputs.max(), abs=1e-5)
    assert made.evaluations <= (width + 32) * (height + 32)


@pytest.mark.parametrize(
    ("name", "tile", "bands"),
    rows(
        [(name, tile, bands) for tile in (32, KERNEL) for bands in (2**21, 2**13) for name in NETWORKS],
        quick=[*((name, KERNEL, 2**13) for name in NETWORKS), *((name, 32, 2**13) for name in list(NETWORKS)[::3])],
    ),
)
def test_whole_tiles_hide_nothing(name: str, tile: int, bands: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "BAND_NODES", bands)
    monkeypatch.setattr(draw, "PART", bands >> 12)
    one, width, height = NETWORKS[name](), 187, 213
    few, all_of_them = drawn(one, width, height, tile, colours=True), drawn(one, width, height, 1, colours=True)
    assert all_of_them.evaluations == width * height
    outputs, _, nearest = every_pixel(one, width, height)
    sure = nearest > 1
    # An edge is sure where both its pixels are.
    beside, below = sure[:, 1:] & sure[:, :-1], sure[1:] & sure[:-1]
    for plane in (few, all_of_them):
        plane.edges[:, :-1][~beside] &= ~np.uint8(1)
        plane.edges[:-1][~below] &= ~np.uint8(2)
    assert np.array_equal(few.edges, all_of_them.edges)
    assert np.array_equal(few.colours[sure], all_of_them.colours[sure])
    scale = max(1.0, float(np.abs(outputs).max()))
    near_whole = np.abs(255 * outputs - np.rint(255 * outputs)) < 1e-3 * scale
    assert np.array_equal(few.gray[sure & ~near_whole], all_of_them.gray[sure & ~near_whole])
    assert few.lowest == pytest.approx(all_of_them.lowest, abs=1e-5 * scale)
    assert few.highest == pytest.approx(all_of_them.highest, abs=1e-5 * scale)
    if sure.all():
        assert few.polytopes == all_of_them.polytopes


@pytest.mark.parametrize("tile", [32, KERNEL])
def test_most_of_a_picture_is_sure_and_little_of_it_is_evaluated(tile: int) -> None:
    one = trained(3)
    _, _, nearest = every_pixel(one, 187, 213)
    assert (nearest > 1).mean() > 0.99
    counts = [drawn(one, side, side, tile).evaluations for side in (256, 512, 1024)]
    assert counts[2] < 1024 * 1024 / 12
    assert all(later < 2.6 * earlier for earlier, later in pairwise(counts))


class Counting(Eager):
    """Notes every point, and how many come at once."""

    def __init__(self, state: State) -> None:
        super().__init__(state, CONFIG)
        self.points: list[torch.Tensor] = []

    def evaluate(self, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.points.append(inputs.clone())
        return super().evaluate(inputs)


@pytest.mark.parametrize("bands", [2**21, 2**13])
@pytest.mark.parametrize("tile", [32, 1])
def test_no_point_is_evaluated_twice_nor_too_many_at_once(
    bands: int, tile: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawing, "BAND_NODES", bands)
    backend = Counting(trained(3))
    backend.tile = tile
    with torch.inference_mode():
        made = AdaptiveRasterizer(backend, 150, 170, 1000).draw()
    assert max(part.shape[-1] for part in backend.points) <= 1000
    points = torch.cat(backend.points, -1)[0]
    assert points.shape[1] == made.evaluations == torch.unique(points, dim=1).shape[1]


def test_what_is_not_a_number_is_black_and_no_constant() -> None:
    class Broken(Eager):
        def evaluate(self, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            outputs, signatures = super().evaluate(inputs)
            return torch.where(
                inputs[:, :1] < 0.5, torch.full_like(outputs, float("nan")), outputs * 0 + 0.5
            ), signatures

    for tile in (32, 1):
        backend: Backend = Broken(fresh(1), CONFIG)
        backend.tile = tile
        made = AdaptiveRasterizer(backend, 64, 64, 10**6).draw()
        assert np.isnan(made.lowest)
        assert np.isnan(made.highest)
        assert not made.highest - made.lowest < 1e-6
        assert made.gray[:, 63].max() == 127
        assert made.gray[:, 0].max() == 0


def test_a_region_keeps_its_colour_from_drawing_to_drawing() -> None:
    one = fresh(1)
    backend = Eager(one, CONFIG)
    with torch.inference_mode():
        rasterizer = AdaptiveRasterizer(backend, 80, 80, 10**6, colours=True)
        before = rasterizer.draw()
        one.main.parameters[0, -1] += 0.1  # the output's bias: every pattern stays
        after = rasterizer.draw()
        smaller = AdaptiveRasterizer(backend, 40, 40, 10**6, colours=True).draw()
    assert np.array_equal(before.colours, after.colours)
    assert np.array_equal(before.colours[::2, ::2], smaller.colours)
    assert len(np.unique(before.colours)) > before.polytopes / 2
    assert after.highest == pytest.approx(before.highest + 0.1, abs=1e-6)


def test_the_cpu_kernel_draws_nothing_where_nothing_is_a_number() -> None:
    made = drawn(with_parameters(lambda flat: flat.fill_(float("nan"))), 70, 40)
    assert not made.gray.any()
    assert np.isnan(made.lowest)
    assert np.isnan(made.highest)


def test_what_the_cpu_kernel_draws_does_not_depend_on_the_threads() -> None:
    one, before, found = trained(3), torch.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            found.append(drawn(one, 250, 330, colours=True))
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        for ours, theirs in zip(vars(other).values(), vars(found[0]).values(), strict=True):
            assert callable(ours) or np.array_equal(ours, theirs)


def test_a_network_that_is_not_affine_on_its_cells_is_drawn_pixel_by_pixel() -> None:
    made = fresh(1)
    bent = replace(made.main.network, activation=replace(leaky_relu(), piecewise_affine=False))
    made.main = replace(made.main, network=bent)
    for backend in (Cpu(made, CONFIG), Eager(made, CONFIG)):
        with torch.inference_mode():
            drawn = rasterizer_for(backend, 64, 48, 1000).draw()
        assert drawn.evaluations == 64 * 48
        assert drawn.polytopes > 1
    with pytest.raises(ValueError, match="drawn by their corners"):
        Rasterizer(bent, made.coefficients, 64, 48)
