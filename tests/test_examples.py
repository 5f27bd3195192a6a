"""The original program's own examples, typed one after the other in one folder as its users type them."""

import glob
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from draw_poly.engine.film import count_frames
from tests.conftest import GOLDEN
from tests.test_cli import ROOT

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


# A draw of networks some of which stop early would tell nothing of names.
DRAWN = """
import secrets, sys
seed = int(sys.argv.pop(1))
secrets.randbits = lambda bits: seed
from draw_poly import cli
sys.exit(cli.main())
"""


def typed(folder: Path, words: list[str], seed: int) -> str:
    """The log of what a person types there, where a seed is drawn; the shell makes file names of a pattern."""
    expanded = [name for word in words for name in (glob.glob(word, root_dir=folder) if word == PATTERN else [word])]
    done = subprocess.run(
        [sys.executable, "-c", DRAWN, str(seed), *expanded, "--points", "200",
         "--batch-size", "100", "--device", "cpu"],
        cwd=folder, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, (words, done.stderr)
    assert "Traceback" not in done.stderr
    return done.stderr


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
def test_the_originals_examples_one_after_the_other(folder: Path) -> None:
    for number, words in enumerate(EXAMPLES):
        before = kept(folder)
        typed(folder, words, number)
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
def test_and_any_of_them_with_more_flags_and_all_of_them_again(folder: Path) -> None:
    for number, words in enumerate((EXAMPLES[0], *([*EXAMPLES[0], *more] for more in MORE), *EXAMPLES)):
        before = kept(folder)
        log = typed(folder, words, number)
        if "--resume" not in words:
            after = kept(folder)
            assert {name: after.get(name) == content for name, content in before.items()} == dict.fromkeys(before, True)
    assert "Resuming" not in log
    assert len(list((folder / "results").glob("*.mp4"))) == 9
