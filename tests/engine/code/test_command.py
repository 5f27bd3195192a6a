"""`draw-poly code`: what it writes is read back, what it says adds up, and what cannot be is refused in a sentence."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from draw_poly import cli
from draw_poly.engine.code.codec import decode
from draw_poly.engine.code.picture import drawn
from draw_poly.engine.code.source import load
from tests.conftest import GOLDEN, Program

TERM = ("--kolmogorov-shape", "[4]", "--kolmogorov-weight", 0.01, "--kolmogorov-bins", 32)


@pytest.fixture
def trained(program: Program, tmp_path: Path) -> Path:
    assert program("--seed", 1, "--no-film", "--save-interval", 4, "--regions", "off", *TERM).status == 0
    return tmp_path / "out" / "results"


def code(*words: object) -> int:
    try:
        return cli.main(["code", *map(str, words)])
    except SystemExit as stop:
        return int(stop.code or 0)


def numbers(said: str) -> dict[str, int]:
    """The rows of the table."""
    rows = re.findall(r"^ *(\S.*?) {2,}([\d,]+)(?:  .*)?$", said, re.MULTILINE)
    return {name: int(bits.replace(",", "")) for name, bits in rows}


def test_a_checkpoint_is_coded_and_the_file_decoded(
    trained: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = tmp_path / "made"
    caplog.clear()
    with caplog.at_level("INFO", "polytope_nn.code"):
        assert code(trained, "-o", place) == 0
    rows = numbers("\n".join(caplog.messages))
    (path,) = place.glob("*.poly")
    content = path.read_bytes()
    assert (
        rows["the file"] == 8 * len(content) == sum(rows[f"its {part}"] for part in ("header", "predictor", "network"))
    )
    source = load(next(trained.glob("*.pt")), None)
    assert source.picture is not None
    found = decode(content, "file")
    assert found.size == (23, 17)
    assert (found.grid.bins, found.grid.low, found.grid.high) == (32, -3.0, 3.0)
    own = np.asarray(Image.open(path.with_suffix(".png")))
    assert (own == drawn(found.network, found.parameters, (23, 17))).all()
    text = "\n".join(caplog.messages)
    missed = float(np.square((own - source.picture.pixels.astype(float)) / 255).mean())
    assert f"MSE {missed:.6g}" in text
    assert rows["the image in two parts: file and rest"] == pytest.approx(
        rows["the file"] + rows["the rest of the image"], abs=1
    )
    wanted = {"lzma of the bins", "zlib of the bins", "float16", "the same picture as PNG", "the image as PNG"}
    wanted |= {f"the image as {name}, as wrong or less" for name in ("JPEG", "WebP")}
    assert wanted <= rows.keys()

    assert code(path, "-o", tmp_path / "again") == 0
    assert np.loadtxt(tmp_path / "again" / f"{path.stem}.txt", dtype=np.float32).tobytes() == found.parameters.tobytes()
    assert (np.asarray(Image.open(tmp_path / "again" / f"{path.stem}.png")) == own).all()


def test_without_its_image_a_checkpoint_is_coded_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    original = GOLDEN / "original_adam_epoch_000009.pt"
    with caplog.at_level("INFO", "polytope_nn.code"):
        assert code(original, "-o", tmp_path) == 0
        assert "No picture is drawn" in caplog.text
        assert code(original, "-o", tmp_path, "-i", GOLDEN / "images" / "ring256.png", "--bins", 100) == 0
    found = decode((tmp_path / f"{original.stem}.poly").read_bytes(), "file")
    assert found.size == (256, 256)
    assert found.grid.bins == 100
    assert [path.suffix for path in sorted(tmp_path.iterdir())] == [".png", ".poly"]


def test_an_image_that_has_become_another_is_none(trained: Path, small_image: Path, tmp_path: Path) -> None:
    Image.new("L", (23, 17)).save(small_image)
    (path,) = trained.glob("*.pt")
    source = load(path, None)
    assert source.picture is None
    assert "another one by now" in source.unseen


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nowhere",), "no checkpoint"),
        (("{}/nowhere.poly",), "cannot be read"),
        (("{}", "--bins", 1), "from 2 to 65536"),
        (("{}", "--bins", 64), "leave --bins"),
        (("{}", "--by", "magic"), "invalid choice"),
        (("{}", "--weight-min", 2, "--weight-max", 1), "first below the second"),
        (("{}", "--by", "counts", "--weight-min", 1e9), "two numbers that ascend"),
        (("{}", "-i", "nowhere.png"), "no such file"),
        (("{}", "-i", GOLDEN / "images" / "ring256.png"), "trained on another image"),
        ((GOLDEN / "code" / "counts.poly", "--bins", 64), "is of coding"),
        (("{}/checkpoint.poly",), "no .poly file"),
        ((), "required"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[object, ...], said: str
) -> None:
    (path,) = trained.glob("*.pt")
    (trained / "checkpoint.poly").write_bytes(path.read_bytes())
    capsys.readouterr()
    given = [str(word).format(trained) for word in words]
    assert code(*given, "-o", tmp_path / "made") == 2
    errors = capsys.readouterr().err
    assert said in errors
    assert errors.count("\n") == 1
    assert not list(tmp_path.glob("made/*"))


def test_parameters_that_are_not_finite_are_refused(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (path,) = trained.glob("*.pt")
    content = torch.load(path, weights_only=False)
    content["model_state_dict"]["network.0.weight"][0, 0] = float("nan")
    torch.save(content, path)
    capsys.readouterr()
    assert code(path, "-o", tmp_path / "made") == 2
    assert "not finite" in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_is_a_failure(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "made").write_text("a file where a folder would be")
    assert code(trained, "-o", tmp_path / "made") == 3
