"""Where a run begins: drawn afresh in the original's order, or from a checkpoint; and whose files it may write."""

import dataclasses
import importlib
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from draw_poly.engine import (
    checkpoint,
    files,
    image,
    image_file,
    memory,
    ownership,
    picture_file,
    remains,
    resume,
)
from draw_poly.engine.claim import Claim
from draw_poly.engine.config import Config, ConfigError
from draw_poly.engine.files import Files
from draw_poly.engine.frame import can_be_filmed, film_canvas, frame_size
from draw_poly.engine.image import Picture, Split
from draw_poly.engine.journal import log
from draw_poly.engine.state import State
from draw_poly.engine.training.fresh import fresh
from draw_poly.engine.training.watch import Watch


@dataclass
class Beginning:
    """A run about to train. `resumed_from` is its checkpoint, if it had one, and `origin` where it wrote till then.

    Its rows up to now were trained with this `weight` of the Kolmogorov term, where they do not tell. `replaced` files
    make way for its own; `unmade` names what is still to be made of a run that has reached its last epoch.
    """

    config: Config
    files: files.Files
    picture: Picture
    state: State
    extras: checkpoint.Extras
    resumed_from: Path | None = None
    warnings: list[str] = field(default_factory=list)
    replaced: list[Path] = field(default_factory=list)
    origin: Files | None = None
    unmade: list[str] = field(default_factory=list)
    weight: float = 0.0

    @property
    def split(self) -> Split:
        """The points it trains and validates on."""
        return self.extras.split


def begin(config: Config, claim: Claim) -> Beginning:
    """Reads the image and the checkpoint, if any, makes the folders, and claims the files; none is removed yet.

    Raises ConfigError for what cannot be done, and for files of another run that would be written over.
    """
    picture = image_file.load(config.input)
    width, height = frame_size(picture.width, picture.height, config.frame_size)
    memory.require(
        width * height * memory.BYTES_PER_PANEL_PIXEL,
        f"--frame-size {config.frame_size}, a frame of {3 * width} x {height} pixels,",
    )
    memory.require_network(config, min(config.chunk_size, width * height))
    config, warnings = _with_what_is_installed(config)
    if not config.no_film:
        _require_film(config, picture)
    begun = _resumed(config, picture, claim) if config.resume else _fresh(config, picture, claim)
    begun.warnings += warnings
    return begun


def _with_what_is_installed(config: Config) -> tuple[Config, list[str]]:
    """A run without what packages that are missing would have made, and a sentence for each.

    Raises ConfigError where the film was all that a run was to draw.
    """
    warnings = []
    if config.snapshot_format == "png" and not picture_file.HAS_ISAL:
        warnings.append("PNG frames take longer than they need: isal is not installed (python -m pip install isal)")
    if config.no_film:
        return config, warnings
    try:
        importlib.import_module("draw_poly.engine.film")
    except ImportError as error:
        missing = f"PyAV, which encodes the film, cannot be loaded ({error}; python -m pip install av)"
        if config.snapshot_format == "none":
            raise ConfigError(f"--snapshot-format none keeps the film alone, but {missing}") from error
        warnings.append(f"There will be no film: {missing}")
        return dataclasses.replace(config, no_film=True), warnings
    return config, warnings


def _require_film(config: Config, picture: Picture) -> None:
    """Raises ConfigError where frames are larger than a film's may be."""

    def fits(limit: int) -> bool:
        return can_be_filmed(*film_canvas(*frame_size(picture.width, picture.height, limit)))

    if not fits(config.frame_size):
        most = next(limit for limit in range(config.frame_size, 0, -1) if fits(limit))
        raise ConfigError(
            f"--frame-size was {config.frame_size}, which is more than a film of this image can be made from: "
            f"give at most {most}, or --no-film"
        )


def _fresh(config: Config, picture: Picture, claim: Claim) -> Beginning:
    draw = fresh(config, picture)
    place, replaced = ownership.settle(config, picture, claim)
    if config.seed is None:
        log.info("Seed: none was given, %d was drawn", draw.seed)
    extras = checkpoint.Extras(
        uuid.uuid4().hex, draw.split, Watch(), draw.seed, draw.numpy_state, draw.python_state, number=place.number
    )
    return Beginning(config, place, picture, draw.state, extras, replaced=replaced)


def _resumed(config: Config, picture: Picture, claim: Claim) -> Beginning:
    source, found, place = _found(config, picture, claim)
    config, state = found.config, found.state
    split = found.split
    if split is None:
        split = image.split(picture, config.points, config.batch_size, np.random.RandomState(config.seed))
    unmade = remains.unmade(place, config, found.run, state.epoch) if state.epoch == config.epochs else []
    replaced = _refuse_clash(place, found, source) if state.epoch < config.epochs or unmade else []
    log.info("Resuming from checkpoint: %s", source)
    log.info("Resuming training from epoch %d", state.epoch)
    for change in found.changes:
        log.info("%s", change)
    extras = checkpoint.Extras(
        found.run or uuid.uuid4().hex, split, found.watch, found.seed, found.numpy_state, found.python_state,
        found.film_frames, place.number, found.unwritten, found.rows,
    )  # fmt: skip
    origin = remains.origin(place, found, source)
    return Beginning(
        config, place, picture, state, extras, source, found.warnings, replaced, origin, unmade, found.weight
    )


def _found(config: Config, picture: Picture, claim: Claim) -> tuple[Path, resume.Resumed, files.Files]:
    """A checkpoint, what it holds, and the files of its run, claimed."""
    while True:
        source = ownership.meant(config, picture)
        found = resume.restore(source, checkpoint.load(source), config, picture)
        if found.state.epoch > config.epochs:
            raise ConfigError(
                f"--epochs was {config.epochs}, but {source} has reached epoch {found.state.epoch}: give a larger one"
            )
        place = files.Files.of(found.config, found.identity, number=found.number, image=found.image_name)
        place.make_folders()
        ownership.take(claim, place, found.config, picture)
        if ownership.meant(config, picture) == source:
            return source, found, place
        claim.give_up()  # its owner has just ended, and left a newer one


def _refuse_clash(place: files.Files, found: resume.Resumed, source: Path) -> list[Path]:
    """A resume may write over what it retraces, not over another run nor over another way on from the checkpoint.

    Returns the files that `--overwrite` gives up.
    """
    overwrite = found.config.overwrite
    stored = files.read_settings(place.settings)
    if stored and stored.get("run") != found.run:
        others = [path for path in place.existing() if not path.samefile(source)]
        if not overwrite:
            raise files.clash(others, stored["settings"], found.config)
        return others
    later = {epoch: path for epoch, path in place.checkpoints().items() if epoch > found.state.epoch}
    other_way = "; ".join(found.changes) or (_differing(later[max(later)], found) if later else "")
    if not later or not other_way:
        return []
    if not overwrite:
        raise ConfigError(
            f"{later[max(later)]} is further on than {source}, and this resume would write over that way on "
            f"({other_way}): resume from it, choose another --output-dir and --snapshot-dir, or give --overwrite to "
            "lose it"
        )
    return [*later.values(), *(path for epoch, path in place.frames().items() if epoch > found.state.epoch)]


def _differing(later: Path, found: resume.Resumed) -> str:
    """How the run of a later checkpoint differs from the one to be resumed; empty where it is the same."""
    try:
        content = checkpoint.load(later)
    except checkpoint.CheckpointError:
        return "that checkpoint cannot be read"
    if "run" in content and content["run"] != found.run:
        return "it is of another run"
    settings = content.get("settings", content.get("args"))
    return files.differences(settings if isinstance(settings, dict) else {}, found.config)
