"""Where a run begins: drawn afresh in the original's order, or from a checkpoint; and whose files it may write."""

import dataclasses
import importlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from draw_poly.engine import files
from draw_poly.engine.code import range_coder
from draw_poly.engine.config import DEFAULTS, Config, ConfigError
from draw_poly.engine.data import image, image_file
from draw_poly.engine.data.image import Picture, Split
from draw_poly.engine.files import Files
from draw_poly.engine.flags import OFF, option
from draw_poly.engine.model.state import State
from draw_poly.engine.pictures.frame import can_be_filmed, film_canvas, frame_size
from draw_poly.engine.prepare import memory, ownership, remains
from draw_poly.engine.prepare.claim import Claim
from draw_poly.engine.prepare.resume import Resume
from draw_poly.engine.record import checkpoint, checkpoint_file, picture_file
from draw_poly.engine.record.checkpoint import Checkpoint
from draw_poly.engine.record.journal import log
from draw_poly.engine.training.fresh import Draw, fresh
from draw_poly.engine.training.watch import Watch
from draw_poly.kernels.spec import OPTIMIZERS, OPTIONS
from draw_poly.kernels.support import unsupported_by_regions


@dataclass
class Prepared:
    """A run about to train. `checkpoint` is what one of its beginning would hold.

    `resumed_from` is where it comes from, if it goes on, and `origin` where it wrote till then. Its rows up to now were
    trained with this `weight` of the Kolmogorov term, where they do not tell. `replaced` files make way for its own;
    `unmade` names what is still to be made of a run that has reached its last epoch.
    """

    config: Config
    files: Files
    picture: Picture
    split: Split
    checkpoint: Checkpoint
    resumed_from: Path | None = None
    warnings: list[str] = field(default_factory=list)
    replaced: list[Path] = field(default_factory=list)
    origin: Files | None = None
    unmade: list[str] = field(default_factory=list)
    weight: float = 0.0

    @property
    def state(self) -> State:
        """Where it begins."""
        return self.checkpoint.state


def prepare(config: Config, claim: Claim) -> Prepared:
    """Reads the image and the checkpoint, if any, makes the folders, and claims the files; none is removed yet.

    Raises ConfigError for what cannot be done, and for files of another run that would be written over.
    """
    picture = image_file.load(*image_file.asked(config))
    if picture.has_colours and not config.learnt.colour:
        log.info("%s has colours, of which the gray values are learnt: --task rgb learns the colours", config.input)
    width, height = frame_size(picture.width, picture.height, config.frame_size)
    rows, columns = config.learnt.grid
    memory.require(
        rows * width * height * memory.BYTES_PER_PANEL_PIXEL,
        f"--frame-size {config.frame_size}, a frame of {columns * width} x {rows * height} pixels,",
    )
    memory.require_network(config, min(config.chunk_size, width * height))
    config, warnings = _with_what_is_installed(config)
    config, beyond = _with_what_has_regions(config)
    warnings += beyond
    if not config.no_film:
        _require_film(config, picture)
    prepared = _resumed(config, picture, claim) if config.resume else _fresh(config, picture, claim)
    prepared.warnings += warnings + _unread(prepared.config)
    return prepared


def _unread(config: Config) -> list[str]:
    """A sentence for each option that was given and that the run's optimiser does not read."""
    given = (name for name in OPTIONS if getattr(config, name) != DEFAULTS[name])
    return [
        f"{option(name)} was given, and {config.optimizer} does not read it"
        for name in given
        if name not in OPTIMIZERS[config.optimizer].reads
    ]


def _with_what_is_installed(config: Config) -> tuple[Config, list[str]]:
    """A run without what packages that are missing would have made, and a sentence for each.

    Raises ConfigError where the film was all that a run was to draw, or where its networks are to be coded.
    """
    warnings = []
    if config.code != OFF:
        range_coder.require()
    if config.snapshot_format == "png" and not picture_file.HAS_ISAL:
        warnings.append("PNG frames take longer than they need: isal is not installed (python -m pip install isal)")
    if config.no_film:
        return config, warnings
    try:
        importlib.import_module("draw_poly.engine.record.film")
    except ImportError as error:
        missing = f"PyAV, which encodes the film, cannot be loaded ({error}; python -m pip install av)"
        if config.snapshot_format == "none":
            raise ConfigError(f"--snapshot-format none keeps the film alone, but {missing}") from error
        warnings.append(f"There will be no film: {missing}")
        return dataclasses.replace(config, no_film=True), warnings
    return config, warnings


def _with_what_has_regions(config: Config) -> tuple[Config, list[str]]:
    """A run without regions where its network has none that can be found, and a sentence that says so.

    Raises ConfigError where its frames' colours are to tell of them.
    """
    reason = None if config.regions == "off" else unsupported_by_regions(config.network)
    if reason is None:
        return config, []
    if config.colour_regions not in (None, "pattern"):
        raise ConfigError(f"--colour-regions {config.colour_regions} is of exact regions, but {reason}")
    return dataclasses.replace(config, regions="off"), [f"Exact regions are not found: {reason}"]


def _require_film(config: Config, picture: Picture) -> None:
    """Raises ConfigError where frames are larger than a film's may be."""

    def fits(limit: int) -> bool:
        return can_be_filmed(*film_canvas(*frame_size(picture.width, picture.height, limit), config.learnt.grid))

    if not fits(config.frame_size):
        most = next(limit for limit in range(config.frame_size, 0, -1) if fits(limit))
        raise ConfigError(
            f"--frame-size was {config.frame_size}, which is more than a film of this image can be made from: "
            f"give at most {most}, or --no-film"
        )


def _fresh(config: Config, picture: Picture, claim: Claim) -> Prepared:
    draw = fresh(config, picture)
    place, replaced = ownership.settle(config, picture, claim)
    if config.seed is None:
        log.info("Seed: none was given, %d was drawn", draw.seed)
    return beginning(draw, config, place, picture, replaced)


def beginning(draw: Draw, config: Config, place: Files, picture: Picture, replaced: Sequence[Path] = ()) -> Prepared:
    """A run that begins with what was drawn, in files that may be its own."""
    begins = Checkpoint(
        draw.state, draw.numpy_state, draw.python_state, place.identity, files.settings_of(config), uuid.uuid4().hex,
        picture.digest, draw.split, Watch(), 0, draw.seed, place.number, place.image, [], [],
    )  # fmt: skip
    return Prepared(config, place, picture, draw.split, begins, replaced=list(replaced))


def _resumed(config: Config, picture: Picture, claim: Claim) -> Prepared:
    source, stored, resume, place = _found(config, picture, claim)
    config, begins = resume.config, resume.checkpoint
    split = begins.split or image.split(picture, config.points, config.batch_size, np.random.RandomState(config.seed))
    record = files.read_settings(place.settings)
    reached = begins.state.epoch == config.epochs
    unmade = remains.unmade(place, config, record, stored) if reached else []
    replaced = [] if reached and not unmade else _refuse_clash(place, record, resume, source)
    log.info("Resuming from checkpoint: %s", source)
    log.info("Resuming training from epoch %d", begins.state.epoch)
    for change in resume.changes:
        log.info("%s", change)
    begins = dataclasses.replace(
        begins, run=stored.run or uuid.uuid4().hex, split=split, digest=picture.digest, image=place.image
    )
    origin = remains.origin(place, stored, source)
    weight = float(stored.settings.get("kolmogorov_weight", 0.0))
    return Prepared(config, place, picture, split, begins, source, resume.warnings, replaced, origin, unmade, weight)


def _found(config: Config, picture: Picture, claim: Claim) -> tuple[Path, Checkpoint, Resume, Files]:
    """A checkpoint's file, what it holds, what a resume makes of it, and the files of its run, claimed."""
    names = Files.of(config)
    while True:
        found = checkpoint_file.find(config.resume or (), names)
        source, stored = ownership.meant(found, config, picture)
        resume = Resume(source, stored, config, picture)
        if stored.state.epoch > config.epochs:
            raise ConfigError(
                f"--epochs was {config.epochs}, but {source} has reached epoch {stored.state.epoch}: give a larger one"
            )
        place = Files.of(resume.config, stored.identity, number=stored.number, image=stored.image)
        place.make_folders()
        ownership.take(claim, place, resume.config, picture)
        if checkpoint_file.find(config.resume or (), names) == found:
            return source, stored, resume, place
        claim.give_up()  # its owner has just ended, and left a newer one


def _refuse_clash(place: Files, record: dict[str, Any] | None, resume: Resume, source: Path) -> list[Path]:
    """A resume may write over what it retraces, not over another run nor over another way on from the checkpoint.

    `record` is the `config.json` there. Returns the files that `--overwrite` gives up.
    """
    config, begins = resume.config, resume.checkpoint
    if record and record.get("run") != begins.run:
        others = [path for path in place.existing() if not path.samefile(source)]
        if not config.overwrite:
            raise files.clash(others, record["settings"], config)
        return others
    later = {epoch: path for epoch, path in place.checkpoints().items() if epoch > begins.state.epoch}
    other_way = "; ".join(resume.changes) or (_differing(later[max(later)], resume) if later else "")
    if not later or not other_way:
        return []
    if not config.overwrite:
        raise ConfigError(
            f"{later[max(later)]} is further on than {source}, and this resume would write over that way on "
            f"({other_way}): resume from it, choose another --output-dir and --snapshot-dir, or give --overwrite to "
            "lose it"
        )
    return [*later.values(), *(path for epoch, path in place.frames().items() if epoch > begins.state.epoch)]


def _differing(later: Path, resume: Resume) -> str:
    """How the run of a later checkpoint differs from the one to be resumed; empty where it is the same."""
    try:
        stored = checkpoint.load(later)
    except checkpoint_file.CheckpointError:
        return "that checkpoint cannot be read"
    if stored.run is not None and stored.run != resume.checkpoint.run:
        return "it is of another run"
    return files.differences(stored.settings, resume.config)
