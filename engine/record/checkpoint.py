"""What a checkpoint holds: the original program's keys, so that either can go on from the other's, and ours.

A field of `Checkpoint` says here how it stands in the file, and what it is in older files that lack it.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import torch

from draw_poly.engine.config import ConfigError
from draw_poly.engine.data.image import Split
from draw_poly.engine.model.initialisation import network_names, predictor_names
from draw_poly.engine.model.state import Learner, State
from draw_poly.engine.record import checkpoint_file
from draw_poly.engine.record.checkpoint_file import CheckpointError
from draw_poly.engine.record.learner_dict import learner_of, optimizer_dict, options_of, parameter_dict
from draw_poly.engine.record.ledger import Due
from draw_poly.engine.regions.lives import Lives
from draw_poly.engine.shape import parse_shape
from draw_poly.engine.task import TASKS, Task
from draw_poly.engine.training.watch import Watch
from draw_poly.kernels.spec import FINAL_ACTIVATIONS, OPTIMIZERS, KolmogorovTerm, Network, Optimizer, activation
from draw_poly.kernels.spec.rate import WAY, RateSchedule

# 2 brought `image_name`, `metrics_rows` and `unwritten_frames`.
FORMAT_VERSION = 2
# The settings that the original keeps, and those of its predictor by the keys that it keeps them under.
ARGS = ("shape", "points", "batch_size", "learning_rate", "optimizer", "momentum")
TERM = {
    "weight_predictor_loss_type": "kolmogorov_loss_type", "weight_predictor_num_bins": "kolmogorov_bins",
    "kolmogorov_shape": "kolmogorov_shape", "kolmogorov_weight": "kolmogorov_weight", "kolmogorov_lr": "kolmogorov_lr",
}  # fmt: skip
Content = Mapping[str, Any]


@dataclass(frozen=True)
class Stored:
    """How a field stands in the file: what is written of its value, by keys, and how it is read from all of them."""

    write: Callable[[Any], Content]
    read: Callable[[Content], Any]


def _under(key: str, read: Callable[[Any], Any] = lambda value: value, **missing: Any) -> Stored:
    """A field under one key; `missing` is its value where a file lacks that, which else raises KeyError."""

    def found(content: Content) -> Any:
        return missing["missing"] if missing and key not in content else read(content[key])

    return Stored(lambda value: {key: value}, found)


def _write_state(state: State) -> Content:
    main, names = state.main, network_names(state.main.network)
    hidden = state.coefficients[0].cpu().split(main.network.dims[1:-1])
    return {
        "epoch": state.epoch - 1,
        "model_state_dict": {
            **{f"hash_coeffs_{i}": part.clone() for i, part in enumerate(hidden)},
            **parameter_dict(main, names),
        },
        "optimizer_state_dict": optimizer_dict(main, names),
        "optimizer_type": main.optimizer.kind,
        "learning_rate": main.optimizer.learning_rate,
        "momentum": main.optimizer.momentum,
        "rates": [_write_way(one) for one in state.learners],
        "pytorch_rng_state": state.generator.get_state(),
    }


def _write_way(learner: Learner) -> Content:
    """Where a schedule stands that heeds losses; the others follow from the settings and the steps taken."""
    schedule = learner.optimizer.schedule
    return {name: getattr(schedule, name) for name in WAY} if schedule.waits else {}


def _read_way(content: Content, learner: int) -> RateSchedule:
    stored = content.get("rates", ({}, {}))[learner]
    return RateSchedule(**{name: stored[name] for name in WAY if name in stored})


def _read_state(content: Content) -> State:
    network = _network(content)
    kind, rate, momentum = str(content["optimizer_type"]), float(content["learning_rate"]), float(content["momentum"])
    moments = content["optimizer_state_dict"]
    if kind not in OPTIMIZERS:
        raise ValueError(f"its optimiser is {kind!r}")
    generator = torch.Generator()
    generator.set_state(content["pytorch_rng_state"].to(torch.uint8))
    model = {name.removeprefix("_orig_mod."): value for name, value in content["model_state_dict"].items()}
    settings, names = content.get("settings") or {}, network_names(network)
    optimizer = Optimizer(kind, rate, momentum, grad_clip_norm=settings.get("grad_clip_norm"))
    optimizer = replace(options_of(optimizer, moments), schedule=_read_way(content, 0))
    main = learner_of(network, optimizer, names, model, moments)
    widths = network.dims[1:-1]
    coefficients = torch.cat([model[f"hash_coeffs_{index}"].long() for index in range(len(widths))])
    if coefficients.shape != (sum(widths),):
        raise ValueError(f"it has {coefficients.numel()} signature coefficients for {sum(widths)} neurons")
    predictor_rate = float(content.get("kolmogorov_lr") or rate)
    predictor = _read_predictor(content, replace(optimizer, learning_rate=predictor_rate))
    return State(main, predictor, coefficients[None], generator, _count(content["epoch"], "epoch") + 1)


def _task(content: Content) -> Task:
    """The original's checkpoints do not tell it, but by their outputs; ours of earlier versions are gray."""
    if settings := content.get("settings"):
        return TASKS[settings.get("task", "gray")]
    biases = [value for name, value in content["model_state_dict"].items() if name.endswith(".bias")]
    return TASKS["classes" if biases and len(biases[-1]) > 1 else "gray"]


def _network(content: Content) -> Network:
    # The original's has no settings, and one activation.
    settings = content.get("settings") or {}
    own = {"name": settings.get("activation"), "slope": settings.get("slope")}
    hidden, task = parse_shape(str(content["args"]["shape"])), _task(content)
    known = {key: value for key, value in own.items() if value is not None}
    final = settings.get("final_activation") or content["args"].get("final_activation") or FINAL_ACTIVATIONS[0]
    return Network((2, *hidden, task.outputs), activation(**known), task.loss(final))


def _write_predictor(predictor: Learner | None, settings: Content) -> Content:
    if predictor is None:
        return {}
    names = predictor_names(predictor.network)
    loss, bins, *rest = TERM.items()
    return {
        "weight_predictor_state_dict": parameter_dict(predictor, names),
        **{key: settings[name] for key, name in (loss, bins)},
        "weight_predictor_optimizer_state_dict": optimizer_dict(predictor, names),
        **{key: settings[name] for key, name in rest},
    }


def _read_predictor(content: Content, optimizer: Optimizer) -> Learner | None:
    stored = content.get("weight_predictor_state_dict")
    if stored is None:
        return None
    hidden = parse_shape(str(content["kolmogorov_shape"]), "--kolmogorov-shape")
    outputs = KolmogorovTerm.outputs(content["weight_predictor_loss_type"], content["weight_predictor_num_bins"])
    network = Network((3, *hidden, outputs))
    moments = content["weight_predictor_optimizer_state_dict"]
    optimizer = replace(optimizer, schedule=_read_way(content, 1))
    return learner_of(network, optimizer, predictor_names(network), dict(stored), moments)


def _write_settings(settings: Content) -> Content:
    args = {name: settings[name] for name in ARGS}
    if settings.get("task") == "classes":
        args["final_activation"] = settings["final_activation"]
    version = {"format_version": FORMAT_VERSION}
    return {"random_seed": settings["seed"], "args": args, **version, "settings": settings}


def _read_settings(content: Content) -> Content:
    """The settings, as far as they are known: the original keeps a part, ours of all versions have them all."""
    seed, args, stored = content["random_seed"], dict(content["args"]), content.get("settings")
    term = TERM if "weight_predictor_state_dict" in content else {}
    return {
        "task": _task(content).name,
        **args,
        **{name: content[key] for key, name in term.items() if key in content},
        **(stored if isinstance(stored, dict) else {}),
        "seed": None if seed is None else int(seed),
        **{name: int(args[name]) for name in ("points", "batch_size")},
    }


def _write_split(split: Split) -> Content:
    return {"training_points": split.training, "validation_points": split.validation}


def _read_split(content: Content) -> Split | None:
    if "training_points" not in content:
        return None
    split = Split(content["training_points"].long(), content["validation_points"].long())
    both = torch.cat((split.training, split.validation))
    if split.training.numel() != int(content["args"]["points"]) or not split.validation.numel() or both.min() < 0:
        raise ValueError("its points are not points of the image")
    return split


def _identity(identity: Any) -> str:
    """What names the run's files. Raises ValueError for what could lead out of their folders."""
    if not isinstance(identity, str) or not re.fullmatch(r"[A-Za-z0-9+=_-]+", identity):
        raise ValueError(f"its run is called {identity!r}")
    return identity


def _write_watch(watch: Watch) -> Content:
    return {"watch": watch.to_dict()}


def _read_watch(content: Content) -> Watch:
    return Watch.from_dict(content["watch"]) if "watch" in content else Watch()


def _write_seed(seed: int | None) -> Content:
    return {"drawn_seed": seed}


def _read_seed(content: Content) -> int | None:
    seed: int | None = content.get("drawn_seed", content["random_seed"])
    return seed


def _write_image(name: str | None) -> Content:
    return {"image_name": name}


def _read_image(content: Content) -> str | None:
    """What the image was called when the run began, whose files bear that name. Raises ValueError for a path."""
    name = content.get("image_name") or os.path.basename(str(_read_settings(content).get("input", "")))
    if not isinstance(name, str) or os.path.basename(name) != name or "\0" in name:
        raise ValueError(f"its image is called {name!r}")
    return name or None


def _read_unwritten(content: Content) -> list[Due]:
    size = _network(content).size
    return [Due.from_dict(frame, size) for frame in content.get("unwritten_frames", ())]


def _write_unwritten(frames: list[Due]) -> Content:
    return {"unwritten_frames": [frame.to_dict() for frame in frames]}


def _write_lives(lives: Lives | None) -> Content:
    return {} if lives is None else {"regions": lives.to_dict()}


def _read_lives(content: Content) -> Lives | None:
    return Lives.from_dict(content["regions"]) if "regions" in content else None


def _count(value: Any, name: str) -> int:
    if not isinstance(value, int) or value < 0:
        raise ValueError(f"{name} is {value!r}")
    return value


@dataclass(frozen=True)
class Checkpoint:
    """A run between two epochs.

    `identity`, `image` and `number` name its files, `run` marks it, `settings` are those of its `Config`, and `digest`
    is of its image. `seed` is the one drawn where none was given; the generators of NumPy and Python are the
    original's, who would go on with them. `film_frames` counts frames of the schedule that the film has, `unwritten`
    are those that are still to be written, and `rows` those of the metrics. `variant` is the backend's that trained,
    `lives` are its regions, if it has them.
    """

    state: Annotated[State, Stored(_write_state, _read_state)]
    numpy_state: Annotated[Any, _under("numpy_rng_state")]
    python_state: Annotated[Any, _under("python_rng_state")]
    identity: Annotated[str, _under("network_shape_b64", _identity)]
    settings: Annotated[Content, Stored(_write_settings, _read_settings)]
    run: Annotated[str | None, _under("run", str, missing=None)]
    digest: Annotated[str | None, _under("image_sha256", missing=None)]
    split: Annotated[Split | None, Stored(_write_split, _read_split)]
    watch: Annotated[Watch, Stored(_write_watch, _read_watch)]
    film_frames: Annotated[int, _under("film_frames", lambda value: _count(value, "film_frames"), missing=0)]
    seed: Annotated[int | None, Stored(_write_seed, _read_seed)]
    number: Annotated[int, _under("number", lambda value: _count(value, "number"), missing=1)]
    image: Annotated[str | None, Stored(_write_image, _read_image)]
    rows: Annotated[list[str], _under("metrics_rows", lambda rows: list(map(str, rows)), missing=[])]
    unwritten: Annotated[list[Due], Stored(_write_unwritten, _read_unwritten)]
    variant: Annotated[str | None, _under("kernel_variant", lambda name: name and str(name), missing=None)] = None
    lives: Annotated[Lives | None, Stored(_write_lives, _read_lives)] = None


# In the order in which they are written.
FIELDS: dict[str, Stored] = {
    name: hint.__metadata__[0] for name, hint in get_type_hints(Checkpoint, include_extras=True).items()
}


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Writes a whole checkpoint or none. Raises OSError where that fails."""
    content: dict[str, Any] = {}
    for name, stored in FIELDS.items():
        content |= stored.write(getattr(checkpoint, name))
    content |= _write_predictor(checkpoint.state.predictor, checkpoint.settings)
    checkpoint_file.write(path, content)


def load(path: Path) -> Checkpoint:
    """A checkpoint of ours, of any version, or of the original. Raises CheckpointError where it is none."""
    content = checkpoint_file.unpickled(path)
    version = content.get("format_version", FORMAT_VERSION)
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise CheckpointError(f"{path} has format version {version}; this program reads up to {FORMAT_VERSION}")
    with sound(path):
        return Checkpoint(**{name: stored.read(content) for name, stored in FIELDS.items()})


@contextmanager
def sound(path: Path) -> Iterator[None]:
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
