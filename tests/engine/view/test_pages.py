"""Pages without a browser: what they hold, what they answer to zoom and slider, what they never do."""

import hashlib
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from bokeh.document import Document
from bokeh.models import CustomJS, Div, HoverTool, Select, Slider
from bokeh.resources import INLINE
from PIL import Image

from draw_poly.engine.flags import ConfigError
from draw_poly.engine.view import standalone
from draw_poly.engine.view.command import Explorer
from draw_poly.engine.view.options import ExportOptions, ViewOptions
from draw_poly.engine.view.page import Scene
from draw_poly.kernels.cpu.regions import Regions
from tests.engine.view.conftest import EPOCHS, explored, tick, train
from tests.engine.view.test_packets import unpacked

HOSTILE = "<img src=x onerror=alert(1)>&amp;'\"`${1}"


def page_of(folder: Path, show: str = "", explorer: Explorer | None = None) -> Document:
    document = Document()
    (explorer or Explorer(folder)).fill(document, {"show": [show.encode()]})
    return document


def scene_of(document: Document) -> Scene:
    scene: Scene
    (scene,) = document.select({"type": Scene})
    return scene


def said(document: Document) -> str:
    text: str = document.get_model_by_name("said").text
    return text


def cells(document: Document) -> int:
    """How many are drawn."""
    packet = scene_of(document).packet
    return len(unpacked(packet)["sides"]) if packet else 0


def expected(folder: Path, epoch: int, window: tuple[float, ...] = (0, 0, 1, 1)) -> int:
    state = explored(folder).history.state(epoch)
    return Regions(state.network).subdivide(state.parameters, window).cells  # type: ignore[arg-type]


def contents(folder: Path) -> dict[str, tuple[str, float]]:
    return {
        str(path): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime)
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_zoom_and_slider_draw_anew(trained: Path) -> None:
    document = page_of(trained)
    scene, slider = scene_of(document), document.get_model_by_name("epoch")
    assert (slider.value, slider.end) == (len(EPOCHS) - 1,) * 2
    assert cells(document) == expected(trained, 6)
    window = [0.25, 0.5, 0.5, 0.625]
    scene.window = window
    tick(document)
    assert cells(document) == expected(trained, 6, tuple(window))
    slider.value = 1
    tick(document)
    assert cells(document) == expected(trained, 2, tuple(window))
    assert unpacked(scene.packet)["epoch"].tolist() == [2]
    scene.window = [0.0, 0.0, 0.0, 1.0]
    tick(document)
    assert cells(document) == 0
    assert "degenerate" in said(document)
    scene.window = [0.0, 0.0, 1.0, 1.0]
    tick(document)
    assert said(document) == ""


def test_too_many_cells_are_a_sentence(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("draw_poly.engine.view.explored.Explored.__init__.__defaults__", (3,))
    document = page_of(trained)
    assert cells(document) == 0
    assert "more than 3 regions, more than can be drawn: zoom in." in said(document)


def test_a_page_follows_a_run(trained: Path, copied: Path) -> None:
    (run,) = (path for path in copied.iterdir() if path.is_dir())
    for path in copied.glob("*.pt"):
        path.unlink()
    whole, table = (run / "networks.bin").read_bytes(), (run / "metrics.csv").read_text().splitlines(keepends=True)
    row = len(whole) // 4
    (run / "networks.bin").write_bytes(whole[:row])
    (run / "metrics.csv").write_text("".join(table[:3]))
    explorer = Explorer(copied)
    document, other = (page_of(copied, explorer=explorer) for _ in range(2))
    slider = document.get_model_by_name("epoch")
    losses = document.get_model_by_name("losses").renderers[0].data_source
    assert slider.disabled
    assert losses.data["epoch"].tolist() == [1, 2]
    (run / "networks.bin").write_bytes(whole[: 3 * row])
    (run / "metrics.csv").write_text("".join(table))
    tick(other)  # who shares the run may look first
    tick(document)
    tick(document)
    assert (slider.value, slider.end) == (2, 2)
    assert losses.data["epoch"].tolist() == list(range(1, 7))
    (legend,) = document.get_model_by_name("losses").legend
    told = [item.label.value for item in legend.items if item.visible]
    assert told == ["task", "validation"]  # of a run without a term
    assert unpacked(scene_of(document).packet)["epoch"].tolist() == [4]
    slider.value = 1  # someone looks back, and stays there
    (run / "networks.bin").write_bytes(whole)
    tick(document)
    tick(document)
    assert (slider.value, slider.end) == (1, 3)
    assert unpacked(scene_of(document).packet)["epoch"].tolist() == [2]


def test_a_run_that_has_no_network_yet_is_waited_for(copied: Path) -> None:
    (run,) = (path for path in copied.iterdir() if path.is_dir())
    whole = (run / "networks.bin").read_bytes()
    (run / "networks.bin").unlink()
    for path in copied.glob("*.pt"):
        path.unlink()
    document = page_of(copied)
    assert "There is no network of this run yet" in said(document)
    (run / "networks.bin").write_bytes(whole)
    tick(document)
    (callbacks,) = document.get_model_by_name("said").js_property_callbacks.values()
    assert isinstance(callbacks[0], CustomJS)
    assert said(document) == "It has begun."


def test_damaged_files_are_sentences_on_the_page(copied: Path) -> None:
    (run,) = (path for path in copied.iterdir() if path.is_dir())
    (run / "networks.bin").write_bytes(b"\xff" * 5000)
    (run / "regions.csv").write_text("epoch,regions\n1,x\n")
    (newest,) = copied.glob("*_epoch_000005.pt")
    newest.write_bytes(b"PK\3\4 and no more")
    document = page_of(copied)
    assert f"{newest} is no checkpoint that can be read: it is cut off or damaged." in said(document)
    tick(document)
    (run / "config.json").write_text("{")
    for name in ("networks.bin", "metrics.csv"):
        (run / name).write_bytes(b"\0")
    newest.unlink()
    document = page_of(copied)
    assert "Which image was learned is not known." in said(document)
    assert "regions.csv is damaged" in said(document)
    assert cells(document) == expected(copied, 3)


def test_an_image_that_is_gone_or_another_is_not_shown(tmp_path: Path) -> None:
    from tests.engine.view.conftest import draw_image

    image = draw_image(tmp_path / "small.png")
    folder = train(tmp_path, image)
    image.write_bytes(draw_image(tmp_path / "other.png").read_bytes())
    assert said(page_of(folder)) == ""
    draw_image(image).write_bytes((Path(__file__).parents[3] / "benches/images/moon.png").read_bytes())
    assert "is another by now" in said(page_of(folder))
    image.unlink()
    assert "The image small.png is not where it was" in said(page_of(folder))


@pytest.mark.parametrize("task", ["rgb", "classes"])
def test_an_image_of_colours_is_shown_as_it_was_learnt(tmp_path: Path, task: str) -> None:
    pixels = np.zeros((17, 23, 3), np.uint8)
    pixels[..., 0], pixels[5:12, 4:12] = 255, (0, 0, 255)
    Image.fromarray(pixels).save(tmp_path / "small.png")
    folder = train(tmp_path, tmp_path / "small.png", "--task", task)
    assert said(page_of(folder)) == ""
    target = explored(folder).target
    assert target is not None
    assert np.array_equal(target.pixels, pixels)


def test_a_sweeps_page_has_its_members_where_their_tiles_are(swept: Path) -> None:
    document = page_of(swept)
    members = document.get_model_by_name("members")
    assert isinstance(members, Select)
    assert len(members.options) == 5
    sheet = document.get_model_by_name("sheet")
    tiles = next(one.data_source for one in sheet.renderers if "told" in one.data_source.data)
    assert len(tiles.data["name"]) == 4
    for name, told in zip(tiles.data["name"], tiles.data["told"], strict=True):
        assert f"{told.split(':')[0]:0>4}_" in name
        member = page_of(swept, name)
        assert cells(member) > 0
        assert member.get_model_by_name("title").text == name
        assert member.get_model_by_name("choice").options[1] == swept.name  # leads back


def test_a_sweeps_damaged_table_is_a_sentence(swept: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(swept, tmp_path / swept.name))
    table = (folder / "members.csv").read_text()
    (folder / "members.csv").write_text(table.replace("\n1,", "\nx,"))
    assert "The sweep cannot be shown" in said(page_of(folder))
    (folder / "sheet.png").write_bytes(b"no picture")
    assert "The sweep cannot be shown" in said(page_of(folder))


def test_what_is_not_there_is_a_sentence(trained: Path, tmp_path: Path) -> None:
    assert "There is no '../x' in this folder." in said(page_of(trained, "../x"))
    assert "There is no run in this folder yet." in said(page_of(tmp_path))
    with pytest.raises(ConfigError, match="there is no such folder"):
        Explorer(tmp_path / "nowhere")


def hostile(copied: Path) -> Path:
    """Results whose names and texts would be script, if they could."""
    (run,) = (path for path in copied.iterdir() if path.is_dir())
    bad = HOSTILE.replace("/", "")
    settings = (run / "config.json").read_text().replace("small.png", "</script><script>alert(1)</script>")
    (run / "config.json").write_text(settings)
    run.rename(run.with_name(bad + run.name))
    return copied


def test_names_and_texts_are_never_markup(copied: Path, swept: Path) -> None:
    for document in (page_of(hostile(copied)), page_of(swept), page_of(copied, HOSTILE)):
        for div in document.select({"type": Div}):
            assert (div.render_as_text and div.disable_math) or div.text == "walls of layers"
        for hover in document.select({"type": HoverTool}):
            assert "safe" not in str(hover.tooltips)
        assert "draw-poly" in document.title


def test_a_file_holds_no_markup_of_a_folder_and_nothing_from_elsewhere(copied: Path, tmp_path: Path) -> None:
    path = tmp_path / "run.html"
    assert standalone.run(ExportOptions(str(hostile(copied)), output=str(path))) == 0
    text = path.read_text()
    assert "<img src=x" not in text
    assert "</script><script>alert" not in text
    for script in INLINE.js_raw:  # Bokeh's own, which would have formulas set by a script from elsewhere
        text = text.replace(script, "")
    assert len(text) < 300_000
    assert "http" not in re.sub("http://www.w3.org[a-z0-9/]*", "", text)


def test_a_page_and_a_file_write_nothing_into_the_folder(trained: Path, tmp_path: Path) -> None:
    before = contents(trained)
    document = page_of(trained)
    tick(document)
    assert standalone.run(ExportOptions(str(trained), output=str(tmp_path / "run.html"))) == 0
    assert contents(trained) == before


def test_a_file_has_as_many_epochs_as_were_asked_for(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = explored(trained).files
    monkeypatch.setattr(standalone, "_html", lambda page, packets: bytes(len(packets)))
    for frames, count in ((3, 3), (1, 1), (200, len(EPOCHS))):
        assert len(standalone.exported(run, frames)) == count
    assert standalone._evenly(list(range(10)), 4) == [0, 3, 6, 9]
    assert standalone._evenly([1, 2, 3], 1) == [3]


def test_of_one_network_a_file_says_that_it_is_the_only_one(
    copied: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (run,) = (path for path in copied.iterdir() if path.is_dir())
    (run / "networks.bin").unlink()
    next(copied.glob("*_epoch_000002.pt")).unlink()
    assert standalone.run(ExportOptions(str(copied), output=str(tmp_path / "run.html"))) == 0
    assert "nothing to slide over" in caplog.text


@pytest.mark.parametrize(
    ("words", "sentence"),
    [({"port": 0}, "--port"), ({"port": 70000}, "--port"), ({"host": ""}, "--host was empty")],
)
def test_what_cannot_be_served_is_refused(words: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        ViewOptions("results", **words)  # type: ignore[arg-type]


def test_what_cannot_be_exported_is_refused(tmp_path: Path, swept: Path, trained: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such folder"):
        standalone.run(ExportOptions(str(tmp_path / "nowhere")))
    with pytest.raises(ConfigError, match="a run was not found there"):
        standalone.run(ExportOptions(str(swept)))
    with pytest.raises(ConfigError, match="--run x was not found there: it holds"):
        standalone.run(ExportOptions(str(trained), run="x"))
    (tmp_path / "file").write_text("")
    assert standalone.run(ExportOptions(str(trained), output=str(tmp_path / "file" / "run.html"))) == 3


def test_the_sliders_step_is_an_epoch_that_is_there(trained: Path) -> None:
    document = page_of(trained)
    assert isinstance(document.get_model_by_name("epoch"), Slider)
    (points,) = (one for one in document.get_model_by_name("picture").renderers if "x" in one.data_source.data
                 and len(one.data_source.data["x"]) > 10)  # fmt: skip
    assert len(points.data_source.data["x"]) == 100 + 32
    assert np.all(np.asarray(points.data_source.data["y"]) < 1)
