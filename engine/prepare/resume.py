"""What a resume makes of a checkpoint: what it goes on with, what it may change, and what it may not."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from draw_poly.engine.config import DEFAULTS, Config
from draw_poly.engine.data.image import Picture
from draw_poly.engine.files import settings_of
from draw_poly.engine.flags import option
from draw_poly.engine.model.initialisation import initialise
from draw_poly.engine.model.state import Learner
from draw_poly.engine.record.checkpoint import Checkpoint, sound
from draw_poly.engine.record.checkpoint_file import CheckpointError
from draw_poly.engine.task import TASKS
from draw_poly.kernels.spec import OPTIMIZERS, OPTIONS
from draw_poly.kernels.spec.rate import PLATEAU

MAY_CHANGE = (
    "save_interval", "kolmogorov_weight", "kolmogorov_weight_min", "kolmogorov_weight_max", "schedule", "warmup",
    "final_lr",
)  # fmt: skip


class Resume:
    """A run from here on: its `config` and `checkpoint` with the changes that the flags ask for, and what to say of it.

    Raises CheckpointError for a change that a resume may not make, by name.
    """

    def __init__(self, path: Path, stored: Checkpoint, config: Config, picture: Picture) -> None:
        self._path, self._stored = path, stored
        self.changes: list[str] = []
        self.warnings: list[str] = []
        _refuse_changes(path, stored, config)
        _refuse_other_image(path, stored, picture)
        self.config = self._from_here_on(replace(config, seed=stored.settings["seed"]))
        predictor = self._predictor()
        state = replace(stored.state, main=self._main(), predictor=predictor)
        self.checkpoint = replace(stored, state=state, settings=settings_of(self.config))
        if stored.split is None:
            self.warnings.append(
                "the checkpoint does not hold its image or points: that they are the same is not checked"
            )
            if self.config.seed is None:
                self.warnings.append("it holds no seed either: other points are drawn than it was trained on")

    def _from_here_on(self, config: Config) -> Config:
        """The configuration with the checkpoint's optimiser and rates, unless `--resume-…` changes them."""
        there, settings = self._stored.state.main.optimizer, self._stored.settings
        kind, rate = there.kind, there.learning_rate
        predictor_rate = settings.get("kolmogorov_lr") if self._stored.state.predictor else config.kolmogorov_lr
        stored: dict[str, Any] = {
            "optimizer": kind, "learning_rate": rate, "kolmogorov_lr": predictor_rate,
            **{name: getattr(there, name) for name in OPTIONS},
        }  # fmt: skip
        for name, value in stored.items():
            given = getattr(config, name)
            if given != value and given != DEFAULTS[name] and not (config.resume_optimizer and name in OPTIONS):
                self.warnings.append(f"{option(name)} {given} is left aside: the checkpoint's {value} goes on")
        for name in MAY_CHANGE:
            if name in settings and settings[name] != getattr(config, name):
                self.changes.append(f"Changing {option(name)} from {settings[name]} to {getattr(config, name)}")
        length = settings.get("epochs", config.epochs)
        timed = config.schedule not in ("constant", PLATEAU)
        if timed and settings.get("schedule") == config.schedule and length != config.epochs:
            self.changes.append(
                f"The {config.schedule} schedule goes over {config.epochs} epochs, in place of {length}"
            )
        if config.resume_optimizer:
            if config.resume_optimizer != kind:
                self.changes.append(f"Switching optimizer from {kind} to {config.resume_optimizer}")
            stored["optimizer"] = config.resume_optimizer
            for name in OPTIMIZERS[config.resume_optimizer].reads:
                if (given := getattr(config, name)) != stored[name]:
                    self.changes.append(f"Changing {option(name)} from {stored[name]} to {given}")
                stored[name] = given
        if config.resume_lr and config.resume_lr != rate:
            self.changes.append(f"Changing learning rate from {rate} to {config.resume_lr}")
            stored["learning_rate"] = config.resume_lr
        if config.resume_lr:
            stored["kolmogorov_lr"] = None
        with sound(self._path):
            return replace(config, **stored)

    def _main(self) -> Learner:
        """The network's learner, with fresh moments where its optimiser is another."""
        # The original does not keep all that a network is told by.
        there, optimizer = replace(self._stored.state.main, network=self.config.network), self.config.optimizers[0]
        if optimizer.kind != there.optimizer.kind:
            kept = optimizer.keeps(there.optimizer)
            self.changes.append("Its moments go on" if kept else "The network goes on with fresh moments")
        return there.switched(optimizer)

    def _predictor(self) -> Learner | None:
        """The predictor's learner: the checkpoint's, a fresh one where the term begins, None where it is off."""
        state, term, optimizer = self._stored.state, self.config.kolmogorov_term, self.config.optimizers[1]
        there = state.predictor
        if term is None:
            if there:
                self.warnings.append(
                    "the checkpoint was trained with the Kolmogorov term; without --kolmogorov-shape it ends here"
                )
            return None
        if there is None:
            self.changes.append("Kolmogorov term: off until here, on from here with a fresh predictor")
            return Learner.fresh(term.predictor, optimizer, initialise(term.predictor, state.generator, 0.0)[None])
        self._refuse_another_predictor(there)
        if optimizer.learning_rate == there.optimizer.learning_rate and optimizer.keeps(there.optimizer):
            return there.switched(optimizer)
        self.changes.append("The predictor goes on with fresh moments")
        return Learner.fresh(there.network, optimizer, there.parameters)

    def _refuse_another_predictor(self, there: Learner) -> None:
        config, settings, term = self.config, self._stored.settings, self.config.kolmogorov_term
        assert term
        names = ["kolmogorov_loss_type"]
        names += ["kolmogorov_bins"] if term.binned else []
        wrong = [
            f"{option(name)} {getattr(config, name)} (there {settings[name]})"
            for name in names
            if settings[name] != getattr(config, name)
        ]
        hidden = there.network.dims[1:-1]
        if hidden != term.predictor.dims[1:-1]:
            wrong.append(f"--kolmogorov-shape {config.kolmogorov_shape} (there {list(hidden)})")
        _refuse(self._path, wrong)


def moved(there: str | None, here: str | None) -> str | None:
    """What to say where kernels of one variant go on with what those of another have trained; None for nothing."""
    if there is None or here is None or there == here:
        return None
    return (
        f"The checkpoint was trained by kernels for {there}, and goes on with those for {here}: as it would have there "
        "to rounding, not to the bit"
    )


def _refuse_changes(path: Path, stored: Checkpoint, config: Config) -> None:
    wrong = []
    task = stored.settings.get("task", TASKS["gray"].name)
    if task != config.task:
        raise CheckpointError(f"a resume may not change --task {config.task}: {path} was trained with --task {task}")
    hidden, seed = stored.state.main.network.dims[1:-1], stored.settings["seed"]
    if config.network.dims[1:-1] != hidden:
        wrong.append(f"--shape {config.shape} (there {list(hidden)})")
    there, here = stored.state.main.network.activation, config.network.activation
    if there.name != here.name:
        wrong.append(f"--activation {config.activation} (there {there.name})")
    elif there.slope != here.slope:
        wrong.append(f"the activation's slope {here.slope:g} (there {there.slope:g})")
    wrong += [
        f"{option(name)} {getattr(config, name)} (there {stored.settings[name]})"
        for name in ("points", "batch_size")
        if getattr(config, name) != stored.settings[name]
    ]
    if config.seed is not None and config.seed != seed:
        wrong.append(f"--seed {config.seed} (there {'none' if seed is None else seed})")
    wrong += [
        f"{option(name)} {getattr(config, name)} (there {stored.settings[name]})"
        for name in ("final_activation", "class_tolerance", "ignore_transparent")
        if stored.settings.get(name, getattr(config, name)) != getattr(config, name)
    ]
    _refuse(path, wrong)


def _refuse(path: Path, wrong: list[str]) -> None:
    if wrong:
        raise CheckpointError(f"a resume may not change {', '.join(wrong)}: {path} was trained with other values")


def _refuse_other_image(path: Path, stored: Checkpoint, picture: Picture) -> None:
    if stored.digest is not None and stored.digest != picture.digest:
        raise CheckpointError(
            f"a resume may not change the image: {path} was trained on another than --input's, "
            f"which has {picture.width} x {picture.height} pixels"
        )
    split = stored.split
    with sound(path):
        if split and max(split.training.max(), split.validation.max()) >= picture.size:
            raise ValueError("its points are not points of the image")
