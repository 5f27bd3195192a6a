import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from draw_poly.engine.config import Config
from draw_poly.engine.data.image import Picture, Split
from draw_poly.engine.pictures.caption import Caption, LossCurves, caption
from draw_poly.engine.pictures.drawing import Drawing
from draw_poly.engine.pictures.frame import (
    BLUE,
    RED,
    FilmComposer,
    Panels,
    PictureComposer,
    film_canvas,
    frame_size,
    video_values,
)
from draw_poly.engine.record.measures import Row
from draw_poly.kernels.picture.panels import BESIDE, OWN
from draw_poly.kernels.spec import RIGHT

CONFIG = Config("x.png", "[10]*4", 100, seed=1)
NOTHING = np.empty((0, 0), np.uint8)


def plain(gray: NDArray[np.uint8], edges: NDArray[np.uint8] | None = None, highest: float = 1.0) -> Drawing:
    return Drawing(gray[None], np.zeros_like(gray) if edges is None else edges, NOTHING, 1, 0.0, highest, 0)


def random_drawing(width: int, height: int, colours: bool = False) -> Drawing:
    generator = np.random.default_rng(width)
    gray, hues = generator.integers(0, 256, (2, height, width), np.uint8)
    return Drawing(
        gray[None], generator.integers(0, 4, gray.shape, np.uint8), hues if colours else NOTHING, 1, 0.0, 1.0, 0
    )


def panels_of(width: int, height: int) -> Panels:
    pixels = np.random.default_rng(height).integers(0, 256, (height, width), np.uint8)
    return Panels.of(Picture(pixels), Split(torch.tensor([0]), torch.tensor([1])), (width, height))


def test_three_panels_with_true_colours() -> None:
    picture = Picture(np.full((40, 50), 90, np.uint8))
    split = Split(torch.tensor([39 * 50]), torch.tensor([39 * 50 + 1]))
    edges = np.zeros((40, 50), np.uint8)
    edges[0, 48] = RIGHT
    made = PictureComposer(Panels.of(picture, split, (50, 40))).compose(
        plain(np.full((40, 50), 200, np.uint8), edges), Caption(())
    )
    assert made.shape == (40, 150, 3)
    # The line is on its own side of the boundary, a lighter one on the other, up to the picture's border.
    for column, share in ((48, OWN[1]), (49, BESIDE[1])):
        expected = [200 + (value - 200) * share / 256 for value in RED]
        assert np.abs(made[0, column].astype(int) - expected).max() <= 1
    assert tuple(made[0, 47]) == tuple(made[1, 48]) == tuple(made[0, 98]) == (200, 200, 200)
    assert tuple(made[39, 100]) == RED
    assert tuple(made[39, 101]) == BLUE
    assert tuple(made[39, 149]) == (90, 90, 90)


def test_lines_cover_the_pixels_of_boundaries_and_no_others() -> None:
    made = random_drawing(33, 21)
    frame = PictureComposer(panels_of(33, 21)).compose(made, Caption(()))
    changed = (frame[:, :33] != made.gray[:, :, None]).any(axis=2)
    # Red over white changes two channels, over anything else all three.
    assert np.array_equal(changed, made.boundaries)
    assert np.array_equal(frame[:, 33:66], np.repeat(made.gray[:, :, None], 3, axis=2))


def test_regions_are_filled_under_their_lines() -> None:
    shared = panels_of(30, 20)
    gray, hues = np.full((20, 30), 100, np.uint8), np.zeros((20, 30), np.uint8)
    hues[:, 15:] = 7
    made = PictureComposer(shared).compose(Drawing(gray[None], np.zeros_like(gray), hues, 2, 0.0, 1.0, 0), Caption(()))
    assert len(np.unique(made[:, :15].reshape(-1, 3), axis=0)) == 1
    assert len(np.unique(shared.palette, axis=0)) == 256
    nearer = np.abs(made[0, 0].astype(int) - shared.palette[0]).sum(), np.abs(made[0, 0].astype(int) - 100).sum()
    assert min(nearer) > 0
    assert np.abs(made[0, 29].astype(int) - shared.palette[7]).max() < np.abs(100 - shared.palette[7].astype(int)).max()
    assert np.all(made[:, 30:60] == 100)


@pytest.mark.parametrize("colours", [False, True])
@pytest.mark.parametrize(("width", "height"), [(34, 22), (33, 21), (33, 22), (1, 1), (130, 131)])
def test_a_films_planes_show_the_same_frame(width: int, height: int, colours: bool) -> None:
    made, shared = random_drawing(width, height, colours), panels_of(width, height)
    text = caption(CONFIG, said(3, 0.5, 0.25))
    frame = PictureComposer(shared).compose(made, text)
    wide, tall = film_canvas(width, height)
    sizes = (tall, wide), (tall // 2, wide // 2), (tall // 2, wide // 2)
    planes = tuple(np.full(size, 99, np.uint8) for size in sizes)
    FilmComposer(shared, planes).compose(made, text)  # type: ignore[arg-type]
    even = np.concatenate(
        [np.pad(panel, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge") for panel in np.split(frame, 3, axis=1)],
        axis=1,
    ).astype(float)
    red, green, blue = np.moveaxis(even, 2, 0)
    # BT.601, limited range.
    expected = (
        16 + 0.2568 * red + 0.5041 * green + 0.0979 * blue,
        128 - 0.1482 * red - 0.2910 * green + 0.4392 * blue,
        128 + 0.4392 * red - 0.3678 * green - 0.0714 * blue,
    )
    for plane, values in zip(planes, expected, strict=True):
        if plane.shape != values.shape:
            values = values.reshape(tall // 2, 2, wide // 2, 2).mean((1, 3))
        # Whole numbers in 256ths, rounded at each of three mixtures.
        assert np.abs(plane - values).max() < 4


def test_video_values_are_bt601s() -> None:
    corners = np.array(((0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 0, 255)), np.uint8)
    luma, blue, red = video_values(corners)
    assert list(luma) == pytest.approx([16, 235, 81.5, 41], abs=1)
    assert list(blue) == pytest.approx([128, 128, 90, 240], abs=1)
    assert list(red) == pytest.approx([128, 128, 240, 110], abs=1)


def test_a_large_image_is_drawn_smaller_with_its_points_where_they_belong() -> None:
    assert frame_size(1024, 512, 2048) == (1024, 512)
    assert frame_size(4096, 1024, 2048) == (2048, 512)
    assert frame_size(5000, 1, 2048) == (2048, 1)
    pixels = np.zeros((100, 200), np.uint8)
    pixels[:, 100:] = 200
    point = 99 * 200 + 199
    target = Panels.of(Picture(pixels), Split(torch.tensor([point]), torch.tensor([0])), (50, 25)).target
    assert target.shape == (25, 50, 3)
    assert tuple(target[24, 49]) == RED
    assert tuple(target[0, 0]) == BLUE
    assert tuple(target[10, 24]) == (0, 0, 0)
    assert tuple(target[10, 25]) == (200, 200, 200)


def test_a_caption_is_written_where_it_fits_and_warns_of_a_constant() -> None:
    text = caption(CONFIG, said(7, 0.12345, 0.5))
    assert text.lines[:3] == ("Epoch: 7", "Train Loss: 0.1235", "Val Loss: 0.5000")
    assert caption(CONFIG, {"epoch": 0}).lines[1] == "Train Loss: -"
    for side, written in ((300, True), (64, True), (8, False), (2, False)):
        gray = np.full((side, side), 90, np.uint8)
        composer = PictureComposer(Panels(np.repeat(gray[:, :, None], 3, axis=2)))
        written_on, constant = (
            composer.compose(plain(gray, highest=high), text)[:, 2 * side :].copy() for high in (1.0, 0.0)
        )
        assert bool((written_on > 120).any()) == written
        # What it hides of the target: never more than two thirds of a panel.
        assert (written_on != 90).any(axis=2).mean() < 0.67
        if side == 300:
            assert (constant[:, :, 0] > constant[:, :, 2].astype(int) + 100).any()  # the colour of a warning
            again = composer.compose(plain(gray), text)[:, 2 * side :]
            assert np.array_equal(again, written_on)  # and it goes away again


def said(epoch: int, combined: float, validation: float) -> Row:
    return {"epoch": epoch, "combined": combined, "validation": validation}


def test_lines_that_change_are_written_anew() -> None:
    gray = np.full((300, 300), 90, np.uint8)
    shared = Panels(np.repeat(gray[:, :, None], 3, axis=2))
    composer = PictureComposer(shared)
    for epoch in (1, 234567, 8):
        text = caption(CONFIG, said(epoch, 1 / epoch, 0.5))
        expected = PictureComposer(shared).compose(plain(gray), text)
        assert np.array_equal(composer.compose(plain(gray), text), expected)


def rows_of(curve: NDArray[np.uint8], channel: int, other: int) -> NDArray[np.float64]:
    """Where a curve's colour stands highest above another channel, in each column; NaN where it does not."""
    excess = curve[:, :, channel].astype(float) - curve[:, :, other]
    return np.where(excess.max(0) > 40, excess.argmax(0), np.nan)


def test_the_curves_grow_with_the_run_and_fall_with_the_loss() -> None:
    gray = np.zeros((240, 200), np.uint8)
    composer = PictureComposer(Panels(np.repeat(gray[:, :, None], 3, axis=2)))
    curves = LossCurves(200, CONFIG)
    reached = []
    for epoch in range(1, 101):
        curves.add(epoch, 10 ** (-epoch / 50), 10 ** (-epoch / 50 + 1))
        if epoch in (10, 50, 100):
            strip = composer.compose(plain(gray), caption(CONFIG, said(epoch, 0.1, 0.1), curves))[200:, 400:]
            training, validation = rows_of(strip, 0, 2), rows_of(strip, 2, 0)
            known = ~np.isnan(training) & ~np.isnan(validation)
            reached.append(int(np.flatnonzero(known).max()))
            assert np.all(training[known] > validation[known])  # the smaller loss is lower
            falling = training[known]
            assert falling[-1] > falling[0] + epoch / 10
            assert np.all(np.diff(falling) >= 0)
    assert reached == pytest.approx([20, 100, 199], abs=2)


@pytest.mark.parametrize("interval", [1, 10, 500, 4000])
def test_a_curve_is_one_of_epochs_however_far_apart_frames_are(interval: int) -> None:
    curves = LossCurves(201, Config("x.png", "[10]*4", 1500, save_interval=interval))
    for epoch in range(1, 1501):
        curves.add(epoch, 10 ** (-epoch / 500), 10 ** (-epoch / 1000))
    drawn = curves.drawn()
    assert drawn is not None
    epochs = np.linspace(0, 1500, 201)
    for kind, pace in zip(drawn, (500, 1000), strict=True):
        for limit in kind:
            assert limit == pytest.approx(-epochs / pace, abs=4 / pace)  # half a column is 3.75 epochs


def test_a_curve_of_an_ever_sparser_film_is_a_line_and_goes_on_after_a_resume() -> None:
    config = Config("x.png", "[10]*4", 20_000, save_interval="log")
    whole, resumed = LossCurves(400, config), LossCurves(400, config)
    for epoch in range(1, 20_001):
        whole.add(epoch, 1 / (epoch + 100), 2 / (epoch + 100))
        if epoch in config.frames:
            whole.drawn()
    for epoch in range(1, 20_001):
        resumed.add(epoch, 1 / (epoch + 100), 2 / (epoch + 100))
    one, other = whole.drawn(), resumed.drawn()
    assert one is not None
    assert other is not None
    assert np.array_equal(one, other, equal_nan=True)
    least, greatest = one[0][:, 1:]
    assert np.all(greatest - least < 0.02 * (greatest.max() - least.min()))
    assert np.all(np.diff(greatest) < 0)


def test_a_loss_below_zero_has_no_logarithm_and_leaves_the_others_their_scale() -> None:
    """As the sum with a Gaussian code length may be."""
    curves = LossCurves(50, CONFIG)
    for epoch in range(1, 101):
        curves.add(epoch, 0.505 - epoch / 100, 0.2)
    drawn = curves.drawn()
    assert drawn is not None
    assert np.nanmin(drawn) == pytest.approx(np.log10(0.005))
    assert np.all(np.isnan(drawn[0, :, 26:]))
    assert np.array_equal(np.isnan(drawn[1, 0]), np.arange(50) < 0)
    gray = np.zeros((240, 200), np.uint8)
    composer = PictureComposer(Panels(np.repeat(gray[:, :, None], 3, axis=2)))
    strip = composer.compose(plain(gray), caption(CONFIG, said(100, -0.5, 0.2), curves))[200:, 400:450]
    assert np.all(np.max(strip[:, :-1, 2], axis=0) > 150)
    never = LossCurves(50, CONFIG)
    never.add(1, -1.0, -1.0)
    assert never.drawn() is None


def test_curves_hold_every_epoch_of_a_long_run_and_go_on_after_a_resume() -> None:
    config = Config("x.png", "[10]*4", 500_000, save_interval="log")
    losses = 0.1 + np.random.default_rng(0).random((2, 3000))
    whole, resumed = LossCurves(64, config), LossCurves(64, config)
    for epoch in range(3000):
        whole.add(epoch + 1, *losses[:, epoch])
        if epoch % 7 == 0:
            whole.drawn()
        resumed.add(epoch + 1, *losses[:, epoch])
    one, other = whole.drawn(), resumed.drawn()
    assert one is not None
    assert other is not None
    assert np.array_equal(one, other, equal_nan=True)
    assert np.nanmin(one[:, 0], 1) == pytest.approx(np.log10(losses.min(1)))
    assert np.nanmax(one[:, 1], 1) == pytest.approx(np.log10(losses.max(1)))
    assert LossCurves(64, config).drawn() is None


@pytest.mark.parametrize("interval", [1, 7, "log"])
def test_many_epochs_at_once_make_the_curves_that_they_make_one_by_one(interval: int | str) -> None:
    config = Config("x.png", "[10]*4", 3000, save_interval=interval)
    losses = np.random.default_rng(1).normal(0.1, 0.2, (3000, 2))  # some are below zero
    rows = np.column_stack((np.arange(1.0, 3001.0), losses))
    slow, fast = LossCurves(150, config), LossCurves(150, config)
    for epoch, training, validation in rows.tolist():
        slow.add(int(epoch), training, validation)
        if epoch < 50:
            slow.drawn()
    fast.extend(rows[:2000])
    for epoch, training, validation in rows[2000:].tolist():
        fast.add(int(epoch), training, validation)
    one, other = slow.drawn(), fast.drawn()
    assert one is not None
    assert other is not None
    assert np.array_equal(one, other, equal_nan=True)
