"""The original program's own examples, typed one after the other in one folder as its users type them."""

import glob
import re
import secrets
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from draw_poly import cli
from draw_poly.engine.record.film import count_frames
from tests.conftest import GOLDEN

RING = ["--input", "centered_ring.png", "--shape", "[10]*8"]
COLOURED = ["--input", "rgb_ring.png", "--shape", "[10]*8"]
PATTERN = "results/checkpoint_*.pt"
# The examples; epochs and points are fewer than theirs, which changes no name that is compared.
EXAMPLES = [
    [*RING, "--epochs", "10"],
    [*RING, "--epochs", "20", "--resume", PATTERN, "--resume-optimizer", "sgd", "--resume-lr", "0.01"],
    [*RING, "--epochs", "20", "--checkpoint-interval", "10", "--checkpoint-dir", "checkpoints/"],
    [*RING, "--epochs", "10", "--kolmogorov-shape", "[5, 5]", "--kolmogorov-weight", "0.01"],
    [
        *COLOURED, "--epochs", "20", "--kolmogorov-shape", "[8, 8]", "--kolmogorov-weight", "0.05",
        "--kolmogorov-loss-type", "cross_entropy", "--kolmogorov-bins", "128",
    ],
]  # fmt: skip
MORE = [["--save-interval", "5"], ["--chunk-size", "1000"], ["--log-file", "run.log"], ["--debug"]]


Typed = Callable[[list[str], int], str]


@pytest.fixture
def typed(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], sketches: None) -> Typed:
    """The log of what a person types in the folder; the shell makes file names of a pattern.

    The seed that is drawn is given: a draw of networks some of which stop early would tell nothing of names.
    """
    monkeypatch.chdir(folder)

    def run(words: list[str], seed: int) -> str:
        expanded = [name for word in words for name in (glob.glob(word) if word == PATTERN else [word])]
        monkeypatch.setattr(secrets, "randbits", lambda bits: seed)
        status = cli.main([*expanded, "--points", "200", "--batch-size", "100", "--device", "cpu"])
        log = capsys.readouterr().err
        assert status == 0, (words, log)
        assert "Traceback" not in log
        return log

    return run


def kept(folder: Path) -> dict[str, bytes]:
    """What nobody may lose: frames, films, checkpoints, weights, the smoothed pictures."""
    kinds = (".png", ".mp4", ".pt", ".txt")
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.suffix in kinds}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    ring = Image.open(GOLDEN / "images" / "centered_ring.png").convert("L")
    ring.save(tmp_path / "centered_ring.png")
    red = Image.fromarray(np.stack([np.asarray(ring), *[255 - np.asarray(ring)] * 2], axis=2))
    red.save(tmp_path / "rgb_ring.png")
    return tmp_path


@pytest.mark.slow
def test_the_originals_examples_one_after_the_other(folder: Path, typed: Typed) -> None:
    for number, words in enumerate(EXAMPLES):
        before = kept(folder)
        typed(words, number)
        after = kept(folder)
        # The second goes on with the first: its film grows, and its plots and weights are of the longer run.
        own = [name for name in before if number == 1 and re.search(r"\.mp4|weights|losses|polytopes", name)]
        assert {name: after.get(name) == content for name, content in before.items() if name not in own} == (
            dict.fromkeys(before.keys() - set(own), True)
        )
    films = {path.name: count_frames(path) for path in (folder / "results").glob("*.mp4")}
    assert sorted(films.values()) == [11, 21, 21, 21]
    assert len({re.sub(r"\.mp4", "", name) for name in films}) == 4
    last = [torch.load(path, weights_only=False) for path in (folder / "checkpoints").glob("*_epoch_000019.pt")]
    assert [content["number"] for content in last] == [2]


@pytest.mark.slow
def test_and_any_of_them_with_more_flags_and_all_of_them_again(folder: Path, typed: Typed) -> None:
    for number, words in enumerate((EXAMPLES[0], *([*EXAMPLES[0], *more] for more in MORE), *EXAMPLES)):
        before = kept(folder)
        log = typed(words, number)
        if "--resume" not in words:
            after = kept(folder)
            assert {name: after.get(name) == content for name, content in before.items()} == dict.fromkeys(before, True)
    assert "Resuming" not in log
    assert len(list((folder / "results").glob("*.mp4"))) == 9
