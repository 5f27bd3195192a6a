"""A sheet: each tile is a frame's first panel, drawn when it changes; its marks, its picture and its film."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from draw_poly.engine.backends.base import blank_state
from draw_poly.engine.backends.reference import Eager
from draw_poly.engine.config import Config
from draw_poly.engine.data.image import Picture, Split
from draw_poly.engine.model.initialisation import initialise_with_coefficients
from draw_poly.engine.pictures.caption import Caption
from draw_poly.engine.pictures.drawing import AdaptiveRasterizer
from draw_poly.engine.pictures.frame import Panels, PictureComposer, film_size
from draw_poly.engine.record.film import count_frames
from draw_poly.engine.sweep.sheet import EMPTY, FILM, INK, MARKS, PAPER, SHEET, Sheet, SheetWriter
from draw_poly.engine.sweep.tiles import KEPT, FusedOutliner, ReferenceOutliner, TilePainter
from draw_poly.engine.sweep.vary import Member, members

BASE: dict[str, Any] = {"input": "x.png", "shape": "[10]*4", "epochs": 5}
PICTURE = Picture(np.zeros((60, 90), np.uint8))


def parameters_of(found: list[Member], seed: int = 0) -> dict[int, Tensor]:
    draw = initialise_with_coefficients
    return {one.number: draw(one.config.network, torch.Generator().manual_seed(one.number + seed))[0] for one in found}


def tile_of(sheet: Sheet, number: int, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    (left, top), (width, height) = sheet._layout.places[number], sheet._layout.tile
    tile: NDArray[np.uint8] = pixels[top : top + height, left : left + width].copy()
    return tile


def first_panel(config: Config, parameters: Tensor, width: int, height: int) -> tuple[NDArray[np.uint8], int]:
    """That of a frame of the run alone, every pixel evaluated by the reference, with coefficients of the run's own."""
    state = blank_state(config, torch.device("cpu"))
    state.main.parameters[0] = parameters
    _, state.coefficients[0] = initialise_with_coefficients(config.network, torch.Generator().manual_seed(77))
    drawing = AdaptiveRasterizer(Eager(state, config), width, height, 1000, tile=1).draw()
    blank = Picture(np.zeros((height, width), np.uint8))
    panels = Panels.of(blank, Split(torch.tensor([0]), torch.tensor([1])), (width, height))
    return PictureComposer(panels).compose(drawing, Caption(()))[:, :width].copy(), drawing.polytopes


@pytest.mark.parametrize(
    "words",
    [
        ["seed=1..3"],
        ["shape=[10]*4,[5],[20,3]*2,[300]*2"],  # the last one is past the kernel's limit
        ["kolmogorov-weight=0.1,0.2", "kolmogorov-shape=[4]"],
    ],
)
def test_a_tile_is_the_first_panel_of_the_members_own_frame(words: list[str]) -> None:
    found = members(BASE, words)
    sheet, parameters = Sheet(found, PICTURE), parameters_of(found)
    pixels = sheet.draw(parameters)
    assert pixels.shape == (sheet.size[1], sheet.size[0], 3)
    for one in found:
        tile = tile_of(sheet, one.number, pixels)
        wanted, polytopes = first_panel(one.config, parameters[one.number], tile.shape[1], tile.shape[0])
        differing = (tile != wanted).any(2).mean()  # where a neuron is zero up to rounding, either side will do
        assert differing < 2e-3
        assert abs(sheet.polytopes[one.number] - polytopes) <= polytopes * 0.01 + 1
        assert polytopes > 2


def test_both_ways_of_drawing_a_tile_agree() -> None:
    found = members(BASE, ["seed=1"])[0]
    parameters, coefficients = initialise_with_coefficients(found.config.network, torch.Generator().manual_seed(3))
    made = [
        FusedOutliner(found.config.network, coefficients, 70, 50).draw(parameters),
        ReferenceOutliner(found.config, coefficients, 70, 50).draw(parameters),
    ]
    assert np.abs(made[0].gray.astype(int) - made[1].gray).max() <= 1
    assert (made[0].edges != made[1].edges).mean() < 2e-3
    assert abs(made[0].polytopes - made[1].polytopes) <= 1


def test_only_tiles_that_change_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    painted: list[int] = []
    paint = TilePainter.paint

    def counted(self: TilePainter, config: Config, parameters: Tensor, tile: NDArray[np.uint8]) -> int:
        painted.append(config.seed or 0)
        return paint(self, config, parameters, tile)

    monkeypatch.setattr(TilePainter, "paint", counted)
    found = members(BASE, ["seed=1..4"])
    sheet, parameters = Sheet(found, PICTURE), parameters_of(found)
    first = sheet.draw(parameters).copy()
    assert painted == [1, 2, 3, 4]
    assert (sheet.draw({number: flat.clone() for number, flat in parameters.items()}) == first).all()
    assert painted == [1, 2, 3, 4]
    parameters[2][5] += 0.1  # in place, as training does
    second = sheet.draw(parameters).copy()
    assert painted == [1, 2, 3, 4, 2]
    for number in parameters:
        same = (tile_of(sheet, number, first) == tile_of(sheet, number, second)).all()
        assert same == (number != 2)
    third = sheet.draw({3: parameters[3]}, {3: "done"})
    assert painted == [1, 2, 3, 4, 2, 3]
    assert (tile_of(sheet, 2, third) == tile_of(sheet, 2, second)).all()


def test_those_who_train_no_more_bear_a_mark_and_are_counted() -> None:
    found = members(BASE, ["seed=1..5"])
    sheet, parameters = Sheet(found, PICTURE), parameters_of(found)
    plain = sheet.draw(parameters, note="epoch 7").copy()
    status = {1: "done", 2: "stopped", 3: "failed", 4: "running", 5: "done"}
    marked = sheet.draw(parameters, status, "epoch 7").copy()
    for number, said in status.items():
        before, after = (tile_of(sheet, number, pixels) for pixels in (plain, marked))
        changed = (before != after).any(2)
        if said in MARKS:
            assert tuple(after[0, -1]) == MARKS[said]
            assert changed[:40, -40:].sum() == changed.sum() > 50
            assert changed.mean() < 0.02
        else:
            assert not changed.any()
    head = [
        {tuple(pixel) for pixel in pixels[: sheet._layout.places[1][1] - 20].reshape(-1, 3)}
        for pixels in (plain, marked)
    ]
    assert INK in head[0]
    assert not set(MARKS.values()) & head[0]
    assert set(MARKS.values()) <= head[1]
    assert (sheet.draw(parameters, note="epoch 7") == plain).all()  # one that was stopped goes on


def test_members_that_have_not_begun_are_empty_and_those_that_lost_themselves_are_drawn() -> None:
    found = members(BASE, ["seed=1..3"])
    sheet, parameters = Sheet(found, PICTURE), parameters_of(found)
    parameters[1][:] = torch.nan
    pixels = sheet.draw({1: parameters[1], 2: parameters[2], 99: parameters[2]}, {1: "failed"})
    assert tuple(tile_of(sheet, 1, pixels)[0, -1]) == MARKS["failed"]
    assert (tile_of(sheet, 3, pixels) == EMPTY).all()
    assert len(np.unique(tile_of(sheet, 2, pixels))) > 5
    assert set(sheet.polytopes) == {1, 2}
    assert tuple(pixels[-1, -1]) == (PAPER,) * 3


def test_networks_of_many_shapes_do_not_fill_the_memory() -> None:
    painter, tile = TilePainter(32, 32), np.empty((32, 32, 3), np.uint8)
    found = members(BASE, [f"shape={','.join(f'[{width}]' for width in range(2, KEPT + 5))}"])
    for one in [*found, *found[:2]]:
        painter.paint(one.config, parameters_of([one])[one.number], tile)
    assert len(painter._outliners) == KEPT
    assert found[0].config.network in painter._outliners


def test_sheets_are_a_picture_and_a_film_that_goes_on(tmp_path: Path) -> None:
    found = members(BASE, ["seed=1..2", "l=1,2"])
    sheet = Sheet(found, PICTURE)
    writer = SheetWriter(tmp_path, sheet.size)
    for seed in range(3):
        pixels = sheet.draw(parameters_of(found, seed))
        writer.write(pixels)
        with Image.open(tmp_path / SHEET) as image:
            assert (np.asarray(image) == pixels).all()
    writer.close()
    assert count_frames(tmp_path / FILM) == 3
    writer = SheetWriter(tmp_path, sheet.size, frames=2)
    writer.write(pixels)
    writer.close()
    assert count_frames(tmp_path / FILM) == 3
    SheetWriter(tmp_path / "none", sheet.size, filmed=False).close()


def test_a_film_shows_what_the_sheet_does_and_fits_players(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    pixels = np.full((4000, 4090, 3), PAPER, np.uint8)
    pixels[:2000, :2000] = (200, 40, 40)
    writer = SheetWriter(tmp_path, (4090, 4000))
    writer.write(pixels)
    writer.close()
    with av.open(str(tmp_path / FILM)) as film:
        shown = next(film.decode(video=0)).to_ndarray(format="rgb24")
    assert shown.shape[1::-1] == film_size(4090, 4000)
    assert np.abs(shown[500, 500].astype(int) - (200, 40, 40)).max() < 8
    assert np.abs(shown[-500, -500].astype(int) - PAPER).max() < 8
