"""What a checkpoint gives to a run, what a resume may change, and what it may not."""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from draw_poly.engine.checkpoint import MOMENT_NAMES, CheckpointError
from draw_poly.engine.config import Config, ConfigError, option, parse_shape
from draw_poly.engine.image import Picture, Split
from draw_poly.engine.ledger import Due
from draw_poly.engine.network import initialise, named_views, network_names, predictor_names
from draw_poly.engine.state import Learner, State
from draw_poly.engine.training.watch import Watch
from draw_poly.kernels.spec import OPTIMIZERS, Network, Optimizer

MAY_CHANGE = ("save_interval", "kolmogorov_weight", "kolmogorov_weight_min", "kolmogorov_weight_max")


@dataclass
class Resumed:
    """A run to go on with. `config` is the one from here on; `identity` and `number` name its files, `run` marks it."""

    config: Config
    state: State
    identity: str
    number: int
    run: str | None
    split: Split | None
    watch: Watch
    film_frames: int
    unwritten: list[Due]
    rows: list[str]
    image_name: str | None
    seed: int | None
    numpy_state: Any
    python_state: Any
    settings: Mapping[str, Any]
    weight: float  # of the Kolmogorov term until now
    changes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def restore(path: Path, content: Mapping[str, Any], config: Config, picture: Picture) -> Resumed:
    """A run as its checkpoint left it, with the changes that the flags ask for.

    Raises CheckpointError for a change that a resume may not make, by name, and for a file that lacks something.
    """
    with _sound(path):
        args = dict(content["args"])
        seed = None if content["random_seed"] is None else int(content["random_seed"])
        fixed = {name: int(args[name]) for name in ("points", "batch_size")}
        shape = parse_shape(str(args["shape"]))
    _refuse_changes(path, config, shape, fixed, seed)
    _refuse_other_image(path, content.get("image_sha256"), picture)

    changes: list[str] = []
    warnings: list[str] = []
    with _sound(path):
        config = _from_here_on(content, replace(config, seed=seed), changes, warnings)
        predictor = _stored_predictor(path, content, config, changes, warnings)
        resumed = Resumed(
            config,
            _state(content, config, predictor, changes),
            _identity(content),
            _count(content.get("number", 1), "number"),
            str(content["run"]) if "run" in content else None,
            _split(content, fixed["points"], picture),
            Watch.from_dict(content["watch"]) if "watch" in content else Watch(),
            _count(content.get("film_frames", 0), "film_frames"),
            [Due.from_dict(frame, config.network.size) for frame in content.get("unwritten_frames", ())],
            [str(row) for row in content.get("metrics_rows", ())],
            _image_name(content),
            content.get("drawn_seed", seed),
            content["numpy_rng_state"],
            content["python_rng_state"],
            _settings(content),
            float(content.get("kolmogorov_weight", 0.0)),
            changes,
            warnings,
        )
    if resumed.split is None:
        warnings.append("the checkpoint does not hold its image or points: that they are the same is not checked")
        if seed is None:
            warnings.append("it holds no seed either: other points are drawn than it was trained on")
    return resumed


@contextmanager
def _sound(path: Path) -> Iterator[None]:
    """Turns what goes wrong with a checkpoint's content into one sentence."""
    try:
        yield
    except CheckpointError:
        raise
    except ConfigError as error:
        raise CheckpointError(f"{path} cannot be resumed: {error}") from error
    except KeyError as error:
        raise CheckpointError(f"{path} is no checkpoint of this program: it lacks {error}") from error
    except (AttributeError, IndexError, RuntimeError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged or no checkpoint of this program ({error})") from error


def _refuse_changes(
    path: Path, config: Config, shape: tuple[int, ...], fixed: Mapping[str, int], seed: int | None
) -> None:
    wrong = []
    if config.network.dims[1:-1] != shape:
        wrong.append(f"--shape {config.shape} (there {list(shape)})")
    wrong += [
        f"{option(name)} {getattr(config, name)} (there {value})"
        for name, value in fixed.items()
        if getattr(config, name) != value
    ]
    if config.seed is not None and config.seed != seed:
        wrong.append(f"--seed {config.seed} (there {'none' if seed is None else seed})")
    if wrong:
        raise CheckpointError(f"a resume may not change {', '.join(wrong)}: {path} was trained with other values")


def _refuse_other_image(path: Path, digest: object, picture: Picture) -> None:
    if digest is not None and digest != picture.digest:
        raise CheckpointError(
            f"a resume may not change the image: {path} was trained on another than --input's, "
            f"which has {picture.width} x {picture.height} pixels"
        )


def _from_here_on(content: Mapping[str, Any], config: Config, changes: list[str], warnings: list[str]) -> Config:
    """The configuration with the checkpoint's optimiser and rates, unless `--resume-…` changes them."""
    kind, rate, momentum = str(content["optimizer_type"]), float(content["learning_rate"]), float(content["momentum"])
    if kind not in OPTIMIZERS:
        raise ValueError(f"its optimiser is {kind!r}")
    predictor_rate = content.get("kolmogorov_lr")
    predictor_rate = None if predictor_rate is None else float(predictor_rate)
    if "weight_predictor_state_dict" not in content:
        predictor_rate = config.kolmogorov_lr
    stored: dict[str, Any] = {
        "optimizer": kind, "learning_rate": rate, "momentum": momentum, "kolmogorov_lr": predictor_rate,
    }  # fmt: skip
    for name, value in stored.items():
        given = getattr(config, name)
        if given != value and given != Config.__dataclass_fields__[name].default:
            warnings.append(f"{option(name)} {given} is left aside: the checkpoint's {value} goes on")
    settings = _settings(content)
    for name in MAY_CHANGE:
        if name in settings and settings[name] != getattr(config, name):
            changes.append(f"Changing {option(name)} from {settings[name]} to {getattr(config, name)}")
    if config.resume_optimizer and config.resume_optimizer != kind:
        changes.append(f"Switching optimizer from {kind} to {config.resume_optimizer}")
        stored["optimizer"] = config.resume_optimizer
        stored["momentum"] = config.momentum
    if config.resume_lr and config.resume_lr != rate:
        changes.append(f"Changing learning rate from {rate} to {config.resume_lr}")
        stored["learning_rate"] = config.resume_lr
    if config.resume_lr:
        stored["kolmogorov_lr"] = None
    return replace(config, **stored)


def _stored_predictor(
    path: Path, content: Mapping[str, Any], config: Config, changes: list[str], warnings: list[str]
) -> Mapping[str, Any] | None:
    """The predictor's parameters in the checkpoint, None where there are none or the term is now off."""
    stored = content.get("weight_predictor_state_dict")
    code = config.code_length
    if stored is None:
        if code:
            changes.append("Kolmogorov term: off until here, on from here with a fresh predictor")
        return None
    if code is None:
        warnings.append("the checkpoint was trained with the Kolmogorov term; without --kolmogorov-shape it ends here")
        return None
    there: dict[str, Any] = {"kolmogorov_loss_type": content["weight_predictor_loss_type"]}
    if config.kolmogorov_loss_type == "cross_entropy":
        there["kolmogorov_bins"] = content["weight_predictor_num_bins"]
    wrong = [
        f"{option(name)} {getattr(config, name)} (there {value})"
        for name, value in there.items()
        if value != getattr(config, name)
    ]
    hidden = parse_shape(str(content["kolmogorov_shape"]), "--kolmogorov-shape")
    if hidden != code.predictor.dims[1:-1]:
        wrong.append(f"--kolmogorov-shape {config.kolmogorov_shape} (there {list(hidden)})")
    if wrong:
        raise CheckpointError(f"a resume may not change {', '.join(wrong)}: {path} was trained with other values")
    return dict(stored)


def _state(
    content: Mapping[str, Any], config: Config, predictor: Mapping[str, Any] | None, changes: list[str]
) -> State:
    draws = torch.Generator()
    draws.set_state(content["pytorch_rng_state"].to(torch.uint8))
    model = {name.removeprefix("_orig_mod."): value for name, value in content["model_state_dict"].items()}
    network, code = config.network, config.code_length
    switched = config.optimizer != content["optimizer_type"]
    main = _learner(
        network, config.optimizers[0], network_names(network), model,
        None if switched else content["optimizer_state_dict"],
    )  # fmt: skip
    second = None
    if code and predictor is not None:
        rate = content.get("kolmogorov_lr") or content["learning_rate"]
        changed = switched or config.optimizers[1].learning_rate != rate
        second = _learner(
            code.predictor, config.optimizers[1], predictor_names(code.predictor), predictor,
            None if changed else content["weight_predictor_optimizer_state_dict"],
        )  # fmt: skip
        if changed:
            changes.append("The predictor goes on with fresh moments")
    elif code:
        second = Learner.fresh(code.predictor, config.optimizers[1], initialise(code.predictor, draws, 0.0))
    widths = network.dims[1:-1]
    coefficients = torch.cat([model[f"hash_coeffs_{index}"].long() for index in range(len(widths))])
    if coefficients.shape != (sum(widths),):
        raise ValueError(f"it has {coefficients.numel()} signature coefficients for {sum(widths)} neurons")
    return State(main, second, coefficients, draws, _count(content["epoch"], "epoch") + 1)


def _learner(
    network: Network,
    optimizer: Optimizer,
    names: list[str],
    parameters: Mapping[str, Any],
    moments: Mapping[str, Any] | None,
) -> Learner:
    """A learner from named tensors and a `torch.optim` state dict; fresh moments where that is None."""
    learner = Learner.fresh(network, optimizer, torch.empty(network.size))
    views = named_views(learner.parameters, network, names)
    for name, view in views.items():
        _copy(view, parameters[name], name)
    stored = dict(moments["state"]) if moments else {}
    if stored:
        rows = [list(named_views(row, network, names).values()) for row in learner.moments]
        for kind, row in zip(MOMENT_NAMES[optimizer.kind], rows, strict=True):
            for index, view in enumerate(row):
                _copy(view, stored[index][kind], f"{kind} of parameter {index}")
        learner.steps = int(stored[0].get("step", 1))
    return learner


def _copy(view: Tensor, value: Tensor, name: str) -> None:
    if value.shape != view.shape:
        raise ValueError(f"{name} has shape {tuple(value.shape)} in place of {tuple(view.shape)}")
    view.copy_(value)


def _count(value: Any, name: str) -> int:
    if not isinstance(value, int) or value < 0:
        raise ValueError(f"{name} is {value!r}")
    return value


def _identity(content: Mapping[str, Any]) -> str:
    """What names the run's files. Raises ValueError for what could lead out of their folders."""
    identity = content["network_shape_b64"]
    if not isinstance(identity, str) or not re.fullmatch(r"[A-Za-z0-9+=_-]+", identity):
        raise ValueError(f"its run is called {identity!r}")
    return identity


def _image_name(content: Mapping[str, Any]) -> str | None:
    """What the image was called when the run began, whose files bear that name. Raises ValueError for a path."""
    name = content.get("image_name") or os.path.basename(str(_settings(content).get("input", "")))
    if not isinstance(name, str) or os.path.basename(name) != name or "\0" in name:
        raise ValueError(f"its image is called {name!r}")
    return name or None


def _settings(content: Mapping[str, Any]) -> Mapping[str, Any]:
    settings = content.get("settings")
    return settings if isinstance(settings, dict) else {}


def _split(content: Mapping[str, Any], points: int, picture: Picture) -> Split | None:
    if "training_points" not in content:
        return None
    training, validation = content["training_points"].long(), content["validation_points"].long()
    both = torch.cat((training, validation))
    if training.numel() != points or not validation.numel() or both.min() < 0 or both.max() >= picture.pixels.size:
        raise ValueError("its points are not points of the image")
    return Split(training, validation)
