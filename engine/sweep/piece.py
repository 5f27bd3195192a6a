"""A piece of a sweep as a worker trains it: members' settings and checkpoints come in, what became of them goes out.

Nothing but the two passes between the machines: what lies on a worker's disk meanwhile is in a folder that goes away.
"""

import dataclasses
import platform
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from draw_poly import engine
from draw_poly.engine.backends import select as backend
from draw_poly.engine.backends.base import never
from draw_poly.engine.config import Config, ConfigError
from draw_poly.engine.data import image_file
from draw_poly.engine.data.image import Picture
from draw_poly.engine.failure import explain
from draw_poly.engine.files import settings_of
from draw_poly.engine.processes import ALONE
from draw_poly.engine.record.measures import Row
from draw_poly.engine.record.table import HEADERS
from draw_poly.engine.schedule import Schedule
from draw_poly.engine.sweep.member import FAILED, LOG, MemberRun
from draw_poly.engine.sweep.train import together, train
from draw_poly.engine.training.setup import Setup
from draw_poly.engine.training.torch_state import own_torch_state

# A worker of several threads may be given several pieces, each of which takes all of them.
ONE_AT_A_TIME = threading.Lock()


@dataclass(frozen=True)
class Part:
    """A member as it is sent: its settings, and what it goes on from, a checkpoint's name and content, if anything.

    `source` is the checkpoint that the sweep itself goes on from.
    """

    number: int
    settings: Mapping[str, Any]
    checkpoint: tuple[str, bytes] | None = None
    source: str | None = None


@dataclass(frozen=True)
class Piece:
    """Members of one shape at the same epoch, to be trained to their ends or `until` an epoch.

    `pictures` are those that members are of, by what was asked for; frames are drawn where `save_interval` has them.
    """

    members: Sequence[Part]
    pictures: Mapping[image_file.Asked, Picture]
    until: int
    save_interval: int | str


@dataclass(frozen=True)
class Became:
    """What became of a member; see `MemberRun` for the first ones, of which `seconds` are the piece's own.

    By their names in its folder: text to be `added` to files, and whole `files`, its newest checkpoint last.
    """

    number: int
    status: str
    reason: str
    epoch: int
    row: Row
    seconds: float
    added: Mapping[str, str]
    files: Mapping[str, bytes]


@dataclass(frozen=True)
class Look:
    """After a visit: epochs that were trained of all members since the last one, parameters (P,) by member's number."""

    epoch: int
    trained: int
    drawn: Mapping[int, NDArray[np.float32]]


@dataclass(frozen=True)
class Trained:
    """What came of a piece, in so many `seconds`."""

    members: Sequence[Became]
    looks: Sequence[Look]
    seconds: float


def versions() -> dict[str, str]:
    """Of what must be the same on all machines of a sweep, by its name for a person."""
    python = ".".join(platform.python_version_tuple()[:2])
    # CUDA's builds and the CPU's differ in what follows the sign.
    return {"draw-poly": engine.__version__, "Python": python, "torch": torch.__version__.partition("+")[0]}


def trained(piece: Piece, threads: int | None = None, interrupted: Callable[[], bool] = never) -> Trained:
    """Trains a piece here, by so many threads of a CPU. Raises Interrupted, ConfigError for what cannot run here."""
    with ONE_AT_A_TIME, own_torch_state(threads), torch.inference_mode(), tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        runs = [_run(part, Path(folder)) for part in piece.members]
        begun: list[tuple[MemberRun, Setup]] = []
        for run, part in zip(runs, piece.members, strict=True):
            try:
                begun.append((run, _begin(run, part, piece.pictures[image_file.asked(run.config)])))
            except (ConfigError, OSError) as error:
                run.status, run.reason = FAILED, explain(error)
        looks = _train(begun, piece, interrupted) if begun else []
        members = [_became(run, part) for run, part in zip(runs, piece.members, strict=True)]
        return Trained(members, looks, time.perf_counter() - started)


def _run(part: Part, folder: Path) -> MemberRun:
    return MemberRun.of(part.number, Config(**part.settings), folder / str(part.number))


def _begin(run: MemberRun, part: Part, picture: Picture) -> Setup:
    """Begins a member whose files are here and name the place where they go."""
    if part.checkpoint:
        name, content = part.checkpoint
        run.folder.mkdir()
        (run.folder / name).write_bytes(content)
    setup = run.begin(picture, resumed=part.checkpoint is not None)
    assert run.prepared
    there = {name: part.settings[name] for name in ("output_dir", "snapshot_dir")}
    config = dataclasses.replace(run.prepared.config, **there)
    begins = dataclasses.replace(run.prepared.checkpoint, settings=settings_of(config))
    source = Path(part.source) if part.source else None
    run.prepared = dataclasses.replace(run.prepared, config=config, checkpoint=begins, resumed_from=source)
    run.prepared.files.metrics.write_text(HEADERS[config.task])  # the rows until now are where the files go
    run.row, run.seconds = {}, 0.0
    return setup


def _train(begun: Sequence[tuple[MemberRun, Setup]], piece: Piece, interrupted: Callable[[], bool]) -> list[Look]:
    runs, setups = zip(*begun, strict=True)
    device, kind, _ = backend.found(runs[0].config, ALONE)
    if device.type == "cpu":
        torch.set_num_threads(backend.most_threads(runs[0].config, ALONE))
    looks, epochs = [], 0
    schedule, most = Schedule(piece.save_interval), together(runs[0].config, device)
    for first in range(0, len(runs), most):
        some = slice(first, first + most)
        for seen in train(runs[some], setups[some], device, kind, schedule, interrupted, piece.until):
            epochs += seen.trained
            if seen.drawn or seen.epoch == piece.until:
                drawn = {number: flat.cpu().numpy().copy() for number, flat in seen.drawn.items()}
                looks.append(Look(seen.epoch, epochs, drawn))
                epochs = 0
    return looks


def _became(run: MemberRun, part: Part) -> Became:
    added, files = {}, {}
    names = (
        {LOG: "", run.prepared.files.metrics.relative_to(run.folder).as_posix(): HEADERS[run.config.task]}
        if run.prepared
        else {}
    )
    # Checkpoints follow each other by their names.
    for path in sorted(run.folder.rglob("*"), key=lambda path: (path.suffix == ".pt", path.name)):
        name = path.relative_to(run.folder).as_posix()
        if name in names:
            added[name] = path.read_text().removeprefix(names[name])
        elif path.is_file() and name != (part.checkpoint or ("",))[0]:
            files[name] = path.read_bytes()
    return Became(run.number, run.status, run.reason, run.epoch, run.row, run.seconds, added, files)
