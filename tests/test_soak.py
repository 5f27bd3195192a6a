"""Faults at every call on every file of a run: status 0 means that all is there, and else the next resume makes it so.

200 runs have one each, by strace where it may trace, else in the process itself. What a resume cannot make, it names.
"""

import csv
import random
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image

from tests.engine.prepare.test_resume import same
from tests.faults import ERRORS, KILL, Ended, Fault, Server

EPOCHS, HALF = 5, 3
TERM = ["--kolmogorov-shape", "[3]", "--kolmogorov-weight", 0.1, "--kolmogorov-bins", 8]
CONFIGS: dict[str, list[object]] = {
    "frames and film": ["--save-interval", 2, "--checkpoint-interval", 1],
    "film alone": ["--save-interval", 1, "--checkpoint-interval", 2, "--snapshot-format", "none", *TERM],
    "no film": ["--save-interval", "log", "--checkpoint-interval", 1, "--snapshot-format", "jpg", "--no-film"],
    "only a last checkpoint": ["--save-interval", 3, "--snapshot-format", "jpg"],
}
FAULTS = 25  # for each of them, begun afresh and resumed
KILLED, ONWARDS = 0.4, 0.4  # shares
# A sentence that says what is lost.
LOSS = re.compile(r"lacks |is kept as ")


class Place:
    """A folder of a run, and what is found in it."""

    def __init__(self, folder: Path) -> None:
        self.results, self.snapshots = folder / "r", folder / "s"

    def files(self) -> set[str]:
        """Names of files, without their folders."""
        there = [path for place in (self.results, self.snapshots) for path in place.rglob("*")]
        return {path.name for path in there if path.is_file()}

    def checkpoints(self) -> dict[int, dict[str, Any]]:
        """Every checkpoint's content, by its epoch."""
        found = (torch.load(path, weights_only=False) for path in self.results.glob("checkpoint_*.pt"))
        return {content["epoch"] + 1: content for content in found}

    def rows(self) -> list[dict[str, str]]:
        (path,) = self.results.glob("*/metrics.csv")
        with path.open() as file:
            return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]

    def film(self) -> list[np.ndarray[Any, Any]]:
        """The film's pictures, in gray."""
        paths = [path for path in self.results.glob("*.mp4") if ".kept-" not in path.name]
        if not paths:
            return []
        with av.open(str(paths[0])) as source:
            return [picture.to_ndarray(format="gray").astype(np.int16) for picture in source.decode(video=0)]

    def frames(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.snapshots.iterdir()}

    def pictures(self) -> dict[str, bytes]:
        """Plots, smoothed picture and weights."""
        patterns = ("*/*.png", "*.png", "weights_*")
        return {path.name: path.read_bytes() for pattern in patterns for path in self.results.glob(pattern)}


class Whole:
    """What an uninterrupted run leaves."""

    def __init__(self, place: Place) -> None:
        self.files, self.rows, self.film = place.files(), place.rows(), place.film()
        self.frames, self.pictures, self.last = place.frames(), place.pictures(), place.checkpoints()[EPOCHS]

    def lacking(self, place: Place) -> Iterator[str]:
        """What is missing, stale, wrong or left over in a run that said it had ended well."""
        there = place.files()
        needed = {name for name in self.files if not name.endswith(".pt")}
        yield from (f"{name} is missing" for name in sorted(needed - there))
        yield from (f"{name} was left" for name in sorted(there) if name.startswith("."))
        checkpoints = place.checkpoints()
        if EPOCHS not in checkpoints:
            yield "the last checkpoint is missing"
            return
        for key in self.last.keys() - {"run", "settings"}:
            if not same(self.last[key], checkpoints[EPOCHS][key]):
                yield f"{key} differs in the last checkpoint"
        if place.rows() != self.rows:
            yield f"the table differs: epochs {[row['epoch'] for row in place.rows()]}"
        shown = [min(range(len(self.film)), key=lambda k: np.abs(self.film[k] - one).mean()) for one in place.film()]
        if shown != list(range(len(self.film))):
            yield f"the film shows {shown} of {len(self.film)}"
        for name, content in (place.frames() | place.pictures()).items():
            if content != (self.frames | self.pictures).get(name, content):
                yield f"{name} differs"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("soak"))
    y, x = np.mgrid[:34, :46]
    Image.fromarray(((x * 11 + y * 5) % 256).astype(np.uint8)).save(made.folder / "image.png")
    yield made
    made.close()


@pytest.mark.slow
@pytest.mark.parametrize("resumed", [False, True])
@pytest.mark.parametrize("name", CONFIGS)
def test_whatever_fails_status_0_means_that_all_is_there(server: Server, name: str, resumed: bool) -> None:
    soak = Soak(server, name, resumed)
    wrong = [line for _ in range(FAULTS) for line in soak.fault()]
    assert not wrong, "\n".join(wrong)


@pytest.mark.slow
def test_the_same_where_nothing_may_trace(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "traces", False)
    soak = Soak(server, "frames and film", True)
    wrong = [line for _ in range(5) for line in soak.fault()]
    assert not wrong, "\n".join(wrong)


class Soak:
    """Runs of one kind, each from the same beginning and with a fault of its own."""

    def __init__(self, server: Server, name: str, resumed: bool) -> None:
        self.chance, self.server = random.Random(f"{name} {resumed}"), server
        self.folder, self.base = server.folder / "run", server.folder / "base"
        self.place = Place(self.folder)
        words: list[object] = ["-i", server.folder / "image.png", "-s", "[4]*2", "-p", 60, "-b", 30, "--seed", 1]
        words += ["-l", 0.05, "--device", "cpu", "--backend", "eager", *CONFIGS[name]]
        words += ["-o", self.place.results, "--snapshot-dir", self.place.snapshots]
        self.afresh = [*words, "-e", EPOCHS]
        self.resume = [*self.afresh, "--resume", self.place.results]
        shutil.rmtree(self.base, ignore_errors=True)
        self.base.mkdir()
        self.begin()
        if resumed:
            assert server.run([*words, "-e", HALF]).status == 0
            shutil.copytree(self.folder, self.base, dirs_exist_ok=True)
        self.command = self.resume if resumed else self.afresh
        self.points = server.points(self.command)
        self.whole = Whole(self.place)

    def begin(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self.base, self.folder)

    def chosen(self) -> Fault:
        """A fault, evenly over classes of files and calls, then over the calls."""
        name, call = self.chance.choice([point for point in self.points if not point[0].startswith("log")])
        path, ordinal = self.chance.choice(self.points[name, call])
        killed = self.chance.random() < KILLED
        how = KILL if killed else self.chance.choice(ERRORS[call])
        return Fault(call, path, ordinal, how, not killed and self.chance.random() < ONWARDS)

    def fault(self) -> Iterator[str]:
        """What is wrong after a run with a fault, and after the one that follows it."""
        fault = self.chosen()
        self.begin()
        for ended in (self.server.run(self.command, fault), self.follow()):
            for line in self.wrong(ended):
                yield f"{fault} -> {ended.status}: {line}; said {ended.said}"
        if ended.status != 0:
            yield f"{fault}: what follows has status {ended.status} and says {ended.said}"

    def follow(self) -> Ended:
        """The resume of what was left, or the same run again where nothing can be resumed."""
        goes_on = any(self.place.results.glob("checkpoint_*.pt"))
        return self.server.run(self.resume if goes_on else [*self.afresh, "--overwrite"])

    def wrong(self, ended: Ended) -> Iterator[str]:
        """What a run may not leave, whatever befell it."""
        if "Traceback" in ended.log:
            yield f"a traceback: {ended.log[-600:]}"
        if ended.status not in (0, 2, 3, -9):
            yield f"status {ended.status}"
        if ended.status in (2, 3) and not ended.said:
            yield "no sentence"
        if "a file cannot" in ended.log:
            yield "a file without its name"
        try:
            self.place.checkpoints()
        except Exception as error:
            yield f"a checkpoint that cannot be read: {error!r}"
        if ended.status == 0 and not (LOSS.search(ended.log)):
            yield from self.whole.lacking(self.place)
