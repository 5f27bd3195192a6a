"""Checkpoints that cannot be lost and cannot bite: whole files, the original's format, no arbitrary pickle.

A file is a dict of the original program's keys, so that either program can go on from the other's, and of ours:
`format_version`, `settings`, `run`, `image_sha256`, `training_points`, `validation_points`, `watch`, `film_frames`,
`drawn_seed`, `number`; since version 2 `image_name`, and what could not be written by then: `metrics_rows`,
`unwritten_frames`.
"""

import glob
import io
import os
import pickle
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from draw_poly.engine.config import Config, ConfigError
from draw_poly.engine.disk import ReadError, read, write_whole
from draw_poly.engine.files import CHECKPOINT_EPOCH, Files, settings_of
from draw_poly.engine.image import Picture, Split
from draw_poly.engine.ledger import Due
from draw_poly.engine.network import named_views, network_names, predictor_names
from draw_poly.engine.state import Learner, State
from draw_poly.engine.training.watch import Watch
from draw_poly.kernels.spec import ADAM_BETAS, EPSILON, RMSPROP_ALPHA

FORMAT_VERSION = 2
MOMENT_NAMES = {
    "adam": ("exp_avg", "exp_avg_sq"),
    "sgd": (),
    "sgd_momentum": ("momentum_buffer",),
    "rmsprop": ("square_avg",),
}


class CheckpointError(ConfigError):
    """A checkpoint cannot be used; the text is one sentence for the user."""


@dataclass
class Extras:
    """What a checkpoint of ours holds beside the state.

    `seed` is the one drawn where none was given; the generators of numpy and Python are the original's, who would go on
    with them; `film_frames` counts frames of the schedule that the film has, `unwritten` are those that are still to be
    written, and `rows` those of the metrics; `number` is that of `Files`.
    """

    run: str
    split: Split
    watch: Watch
    seed: int | None
    numpy_state: Any
    python_state: Any
    film_frames: int = 0
    number: int = 1
    unwritten: list[Due] = field(default_factory=list)
    rows: list[str] = field(default_factory=list)


def save(path: Path, state: State, extras: Extras, config: Config, place: Files, picture: Picture) -> None:
    """Writes a whole checkpoint or none: to another name, synced, renamed. Raises OSError where that fails."""
    # In memory first: torch has words of its own for a full disk.
    whole = io.BytesIO()
    torch.save(_content(state, extras, config, place, picture), whole)
    write_whole(path, whole.getbuffer())


def _content(state: State, extras: Extras, config: Config, place: Files, picture: Picture) -> dict[str, Any]:
    main = state.main
    names = network_names(main.network)
    model = {
        name: view.detach().cpu().clone() for name, view in named_views(main.parameters, main.network, names).items()
    }
    hidden = state.coefficients.cpu().split(main.network.dims[1:-1])
    content: dict[str, Any] = {
        "epoch": state.epoch - 1,
        "model_state_dict": {**{f"hash_coeffs_{i}": part.clone() for i, part in enumerate(hidden)}, **model},
        "optimizer_state_dict": _optimizer_dict(main, names),
        "optimizer_type": main.optimizer.kind,
        "learning_rate": main.optimizer.learning_rate,
        "momentum": main.optimizer.momentum,
        "pytorch_rng_state": state.draws.get_state(),
        "numpy_rng_state": extras.numpy_state,
        "python_rng_state": extras.python_state,
        "network_shape_b64": place.identity,
        "random_seed": config.seed,
        "args": {name: getattr(config, name) for name in
                 ("shape", "points", "batch_size", "learning_rate", "optimizer", "momentum")},
        "format_version": FORMAT_VERSION,
        "settings": settings_of(config),
        "run": extras.run,
        "image_sha256": picture.digest,
        "training_points": extras.split.training,
        "validation_points": extras.split.validation,
        "watch": extras.watch.to_dict(),
        "film_frames": extras.film_frames,
        "drawn_seed": extras.seed,
        "number": extras.number,
        "image_name": place.image,
        "metrics_rows": extras.rows,
        "unwritten_frames": [frame.to_dict() for frame in extras.unwritten],
    }  # fmt: skip
    if state.predictor:
        predictor = state.predictor
        names = predictor_names(predictor.network)
        views = named_views(predictor.parameters, predictor.network, names)
        content |= {
            "weight_predictor_state_dict": {name: view.detach().cpu().clone() for name, view in views.items()},
            "weight_predictor_loss_type": config.kolmogorov_loss_type,
            "weight_predictor_num_bins": config.kolmogorov_bins,
            "weight_predictor_optimizer_state_dict": _optimizer_dict(predictor, names),
            "kolmogorov_shape": config.kolmogorov_shape,
            "kolmogorov_weight": config.kolmogorov_weight,
            "kolmogorov_lr": config.kolmogorov_lr,
        }
    return content


def _optimizer_dict(learner: Learner, names: list[str]) -> dict[str, Any]:
    """A `torch.optim` state dict of flat moments."""
    optimizer = learner.optimizer
    kinds = MOMENT_NAMES[optimizer.kind]
    views = [list(named_views(row.detach().cpu(), learner.network, names).values()) for row in learner.moments]
    state: dict[int, dict[str, Tensor]] = {}
    if learner.steps and kinds:
        for index in range(2 * len(names)):
            state[index] = {} if optimizer.kind == "sgd_momentum" else {"step": torch.tensor(float(learner.steps))}
            state[index] |= {kind: view[index].clone() for kind, view in zip(kinds, views, strict=True)}
    group: dict[str, Any] = {"lr": optimizer.learning_rate, "weight_decay": 0, "maximize": False, "foreach": None}
    if optimizer.kind == "adam":
        group |= {"betas": ADAM_BETAS, "eps": EPSILON, "amsgrad": False, "capturable": False, "fused": None}
        group |= {"differentiable": False, "decoupled_weight_decay": False}
    elif optimizer.kind == "rmsprop":
        group |= {"momentum": 0, "alpha": RMSPROP_ALPHA, "eps": EPSILON, "centered": False}
        group |= {"capturable": False, "differentiable": False}
    else:
        momentum = optimizer.momentum if optimizer.kind == "sgd_momentum" else 0
        group |= {"momentum": momentum, "dampening": 0, "nesterov": False, "fused": None, "differentiable": False}
    return {"state": state, "param_groups": [{**group, "params": list(range(2 * len(names)))}]}


def find(texts: Iterable[str], files: Files) -> list[Path]:
    """The checkpoints that `--resume` may mean by files, folders and patterns, the newest first.

    Of each run that has these names, with whatever number, the newest; where there is none, the newest of all. Raises
    CheckpointError where there is no checkpoint.
    """
    found = [path for text in texts for path in _meant(text)]
    if not found:
        where = "in this folder" if any(map(os.path.isdir, texts)) else "no such file, folder or match of a pattern"
        given = " ".join(texts)
        raise CheckpointError(f"--resume {given[:200]}: no checkpoint (*_epoch_N.pt) was found, {where}")
    runs: dict[str, Path] = {}
    for path in sorted(found, key=_age):
        if run := files.run_of(path.name):
            runs[run] = path
    return sorted(runs.values(), key=_age, reverse=True) or [max(found, key=_age)]


def _meant(text: str) -> list[Path]:
    path = Path(text)
    if os.path.isfile(path):
        return [path]
    found = list(path.iterdir()) if os.path.isdir(path) else [Path(name) for name in glob.glob(text)]
    return [item for item in found if item.is_file() and CHECKPOINT_EPOCH.search(item.name)]


def _age(path: Path) -> tuple[int, float]:
    match = CHECKPOINT_EPOCH.search(path.name)
    return int(match[1]) if match else -1, path.stat().st_mtime


def load(path: Path) -> dict[str, Any]:
    """A checkpoint's content, read without running any code in it. Raises CheckpointError where it is none."""
    try:
        data = read(path)
    except ReadError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror})") from error
    reconstruct = np.zeros(1, np.uint32).__reduce__()[0]
    allowed: list[Any] = [np.ndarray, np.dtype, type(np.dtype(np.uint32)), reconstruct]
    # Where NumPy kept the function before version 2.
    allowed += [(reconstruct, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")]
    try:
        with torch.serialization.safe_globals(allowed):
            content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} is no checkpoint: it is another kind of file, or holds objects that are not allowed in one"
        ) from error
    except Exception as error:  # torch raises many kinds for a file that is cut off or no checkpoint at all
        how = "it is cut off or damaged" if _begins_like_zip(data) else "it is another kind of file"
        raise CheckpointError(f"{path} is no checkpoint that can be read: {how}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} is no checkpoint: it holds a {type(content).__name__}")
    version = content.get("format_version", FORMAT_VERSION)
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise CheckpointError(f"{path} has format version {version}; this program reads up to {FORMAT_VERSION}")
    return content


def _begins_like_zip(data: bytes) -> bool:
    return data[:4] == b"PK\x03\x04" and not zipfile.is_zipfile(io.BytesIO(data))
