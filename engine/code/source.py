"""A checkpoint as `draw-poly code` is given it: weights, and the image that they learned."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from draw_poly.engine.code.weights import Weights
from draw_poly.engine.config import DEFAULTS
from draw_poly.engine.data import image_file
from draw_poly.engine.data.image import Picture
from draw_poly.engine.flags import ConfigError
from draw_poly.engine.record import checkpoint
from draw_poly.engine.record.checkpoint import Checkpoint
from draw_poly.kernels.spec import KolmogorovTerm


@dataclass(frozen=True)
class Source:
    """Weights, their checkpoint's name, and its image; `unseen` says why that is not there."""

    weights: Weights
    name: str
    picture: Picture | None
    unseen: str = ""


def load(path: Path, image: str | None) -> Source:
    """A checkpoint's. Raises CheckpointError where it is none, ConfigError for an image that is not its own."""
    stored = checkpoint.load(path)
    weights = Weights.of_state(stored.state, _term(stored))
    given = image if image is not None else stored.settings.get("input")
    try:
        picture = image_file.load_again(str(given), stored.settings) if given else None
        unseen = "" if picture else "the checkpoint does not name it"
    except ConfigError as error:
        if image is not None:
            raise
        picture, unseen = None, str(error).removeprefix("--input ")
    if picture and stored.digest not in (None, picture.digest):
        if image is not None:
            raise ConfigError(f"--input {image}: {path} was trained on another image")
        picture, unseen = None, f"{given} is another one by now"
    return Source(weights, path.stem, picture, unseen)


def _term(stored: Checkpoint) -> KolmogorovTerm | None:
    """The Kolmogorov term that a checkpoint was trained with."""
    if stored.state.predictor is None:
        return None
    settings: Mapping[str, Any] = stored.settings
    bins, low, high = (
        settings.get(name, DEFAULTS[name])  # the original keeps no range
        for name in ("kolmogorov_bins", "kolmogorov_weight_min", "kolmogorov_weight_max")
    )
    weight = float(settings.get("kolmogorov_weight", 0.0))
    predictor = stored.state.predictor.network
    return KolmogorovTerm(predictor, settings["kolmogorov_loss_type"], weight, int(bins), float(low), float(high))
