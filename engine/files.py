"""The names of a run's files, and whose the files are that already bear them."""

import base64
import dataclasses
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from draw_poly.engine.config import Config, ConfigError
from draw_poly.engine.flags import option
from draw_poly.engine.record.measures import FIGURES
from draw_poly.kernels.spec import OPTIMIZERS, OPTIONS

# What makes two runs of one name two runs; the rest is where and how, not what.
RUN_SETTINGS = (
    "input", "task", "final_activation", "class_tolerance", "ignore_transparent", "shape", "activation", "slope",
    "seed", "points", "batch_size", "optimizer", "learning_rate", *OPTIONS, "kolmogorov_shape", "kolmogorov_weight",
    "kolmogorov_loss_type", "kolmogorov_bins", "kolmogorov_weight_min",
    "kolmogorov_weight_max", "kolmogorov_lr", "schedule", "warmup", "final_lr", "save_interval",
)  # fmt: skip
CHECKPOINT_EPOCH = re.compile(r"_epoch_(-?\d+)\.pt$")
# What the folder begins with that a run tries itself out in.
TRIAL = ".try-"
FRAME_EPOCH = re.compile(r"(\d+)\.(png|jpg)$")


@dataclass(frozen=True)
class Files:
    """Where a run writes. `identity` and `seed` name it; `image` is the input's file name.

    Runs that differ in what these leave out are told apart by `number`: from 2 on it is in the names.
    """

    image: str
    identity: str
    seed: str
    output_dir: Path
    snapshot_dir: Path
    checkpoint_dir: Path
    snapshot_format: str = "png"
    number: int = 1

    @staticmethod
    def of(
        config: Config, identity: str | None = None, seed: str | None = None, number: int = 1, image: str | None = None
    ) -> "Files":
        """The files of a run; a resumed one keeps the identity, seed, number and image name its checkpoint tells."""
        if identity is None:
            fields: list[object] = [config.shape, config.points, config.batch_size, config.learning_rate]
            fields.append(config.optimizer)
            if config.learnt.classes:
                fields.append(config.final_activation)
            if "momentum" in OPTIMIZERS[config.optimizer].options.values():
                fields.append(f"mom{config.momentum}")
            text = "_".join(str(item) for item in fields)
            identity = base64.b64encode(text.encode()).decode()
        if seed is None:
            seed = "none" if config.seed is None else str(config.seed)
        output = Path(config.output_dir)
        return Files(
            image or os.path.basename(config.input),
            identity,
            seed,
            output,
            Path(config.snapshot_dir),
            Path(config.checkpoint_dir) if config.checkpoint_dir else output,
            config.snapshot_format,
            number,
        )

    @property
    def suffix(self) -> str:
        """What tells apart the names of runs that would else have the same."""
        return f"-{self.number}" if self.number > 1 else ""

    @property
    def _run(self) -> str:
        return f"{_fitting(self.identity, 120, keep=0)}_{self.seed}{self.suffix}"

    @property
    def stem(self) -> str:
        """What the names of frames, film and run folder begin with."""
        return f"{_fitting(self.image, 90, keep=40)}_{self._run}"

    @property
    def folder(self) -> Path:
        """The run's own folder, with metrics, plots and settings."""
        return self.output_dir / self.stem

    @property
    def metrics(self) -> Path:
        """A row an epoch."""
        return self.folder / "metrics.csv"

    @property
    def regions(self) -> Path:
        """A row for each epoch whose regions were found, where that was asked for."""
        return self.folder / "regions.csv"

    @property
    def networks(self) -> Path:
        """The network after each epoch with a frame, where regions were asked for."""
        return self.folder / "networks.bin"

    @property
    def settings(self) -> Path:
        """The resolved configuration."""
        return self.folder / "config.json"

    @property
    def plots(self) -> tuple[Path, ...]:
        """The plots of what is measured."""
        return tuple(self.folder / f"{figure.name}.png" for figure in FIGURES)

    @property
    def film(self) -> Path:
        """The mp4 file."""
        return self.output_dir / f"{self.stem}.mp4"

    @property
    def smoothed(self) -> Path:
        """The kernel-smoothed picture."""
        return self.output_dir / f"{self.stem}-kernel-smoothed.png"

    @property
    def weights(self) -> Path:
        """The parameters as text."""
        return self.output_dir / f"weights_{self._run}.txt"

    @property
    def frame_prefix(self) -> str:
        """What frames of this run begin with."""
        return f"{self.stem}_epoch_"

    def frame(self, epoch: int) -> Path:
        """The picture after `epoch` epochs."""
        return self.snapshot_dir / f"{self.frame_prefix}{epoch:06d}.{self.snapshot_format}"

    @property
    def checkpoint_prefix(self) -> str:
        """What checkpoints of this run begin with."""
        return f"checkpoint_{self._run}_epoch_"

    def checkpoint(self, epoch: int) -> Path:
        """The checkpoint after `epoch` epochs; its name counts them from 0."""
        return self.checkpoint_dir / f"{self.checkpoint_prefix}{epoch - 1:06d}.pt"

    def checkpoints(self) -> dict[int, Path]:
        """The checkpoints there are, by finished epochs."""
        found = _beginning_with(self.checkpoint_dir, self.checkpoint_prefix)
        return {int(match[1]) + 1: path for path in found if (match := CHECKPOINT_EPOCH.search(path.name))}

    def frames(self) -> dict[int, Path]:
        """The frames there are, by finished epochs."""
        found = _beginning_with(self.snapshot_dir, self.frame_prefix)
        return {int(match[1]): path for path in found if (match := FRAME_EPOCH.search(path.name))}

    def existing(self) -> list[Path]:
        """Every file there is that bears a name of this run."""
        tables = (self.metrics, self.regions, self.networks)
        single = (self.settings, *tables, *self.plots, self.film, self.smoothed, self.weights)
        several = (*self.checkpoints().values(), *self.frames().values())
        return [path for path in single if os.path.exists(path)] + list(several)

    @property
    def reserve(self) -> Path:
        """A file that keeps room for the final checkpoint."""
        return self.checkpoint_dir / f".{self.checkpoint_prefix}reserve"

    def litter(self) -> list[Path]:
        """What a run that was killed left of files on their way."""
        places = [
            (self.output_dir, (f"{self.stem}.mp4", self.smoothed.name, self.weights.name)),
            (self.folder, ("",)),
            (self.snapshot_dir, (self.frame_prefix,)),
            (self.checkpoint_dir, (self.checkpoint_prefix,)),
        ]
        found = [path for place, starts in places for start in starts for path in _beginning_with(place, f".{start}")]
        return [path for path in found if path.suffix == ".tmp" or path == self.reserve or path.name.startswith(TRIAL)]

    @property
    def claims(self) -> set[Path]:
        """Where the process that writes these files says so: in each folder, by what their names there begin with."""
        names = {(self.output_dir, self._run), (self.checkpoint_dir, self._run)}
        if self.snapshot_format != "none":
            names.add((self.snapshot_dir, self.stem))
        return {folder.resolve() / f".{name}.owner" for folder, name in names}

    def records(self) -> list[Path]:
        """The `config.json` of each run whose checkpoints here would bear these names, whatever its image is called."""
        folders = _beginning_with(self.output_dir, "")
        found = (folder / self.settings.name for folder in folders if folder.name.endswith(f"_{self._run}"))
        return sorted((path for path in found if path.exists()), key=lambda path: path != self.settings)

    def numbers(self) -> set[int]:
        """The numbers under which runs have left files that else have the names of this one."""
        first = dataclasses.replace(self, number=1)
        found = set()
        for folder, prefix, rest in (
            (self.output_dir, first.stem, r"\.mp4|-kernel-smoothed\.png|"),
            (self.output_dir, f"weights_{first._run}", r"\.txt"),
            (self.checkpoint_dir, f"checkpoint_{first._run}", r"_epoch_-?\d+\.pt"),
            (self.snapshot_dir, first.stem, r"_epoch_\d+\.(?:png|jpg)"),
        ):
            name = re.compile(rf"{re.escape(prefix)}(?:-(\d+))?(?:{rest})")
            for path in _beginning_with(folder, prefix):
                match = name.fullmatch(path.name)
                if match and not (path.is_dir() and not any(path.iterdir())):
                    found.add(int(match[1] or 1))
        return found

    def run_of(self, checkpoint: str) -> str | None:
        """What a checkpoint's name begins with if it is this run's or has another number, None for any other."""
        first = re.escape(dataclasses.replace(self, number=1)._run)
        match = re.fullmatch(rf"(checkpoint_{first}(?:-\d+)?)_epoch_-?\d+\.pt", checkpoint)
        return match[1] if match else None

    def make_folders(self) -> None:
        """Makes the folders and tries to write in each. Raises ConfigError where one cannot be written."""
        for folder in (self.output_dir, self.snapshot_dir, self.checkpoint_dir, self.folder):
            try:
                folder.mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryFile(dir=folder):
                    pass
            except OSError as error:
                raise ConfigError(f"the folder {_shown(folder)} cannot be written ({error.strerror})") from error


def _shown(path: Path) -> str:
    text = str(path)
    return text if len(text) <= 200 else text[:199] + "…"


def _beginning_with(folder: Path, prefix: str) -> list[Path]:
    """Files by the beginning of their names; a pattern would trip over `[` and `*` in them."""
    try:
        with os.scandir(folder) as entries:
            return [Path(entry.path) for entry in entries if entry.name.startswith(prefix)]
    except OSError:
        return []


def _fitting(text: str, limit: int, keep: int) -> str:
    """The text, or where it is longer than a file name bears, its beginning and a hash."""
    raw = text.encode(errors="surrogateescape")
    if len(raw) <= limit:
        return text
    digest = hashlib.sha256(raw).hexdigest()[:32]
    return f"{raw[:keep].decode(errors='ignore')}-{digest}" if keep else digest


def settings_of(config: Config) -> dict[str, Any]:
    """A configuration as JSON holds it."""
    return dataclasses.asdict(config)


def differences(stored: Mapping[str, Any], config: Config) -> str:
    """The settings in which a stored run differs from this one: `learning_rate 0.01 there, 0.001 here; …`."""
    given = settings_of(config)
    return "; ".join(
        f"{option(name)} {stored[name]} there, {given[name]} here"
        for name in RUN_SETTINGS
        if name in stored and stored[name] != given[name]
    )


def read_settings(path: Path) -> dict[str, Any] | None:
    """A `config.json`, or None where there is none that can be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) and isinstance(content.get("settings"), dict) else None


def clash(where: Iterable[Path], stored: Mapping[str, Any] | None, config: Config) -> ConfigError:
    """The refusal to write over another run's files."""
    paths = list(where)
    checkpoints = [path for path in paths if CHECKPOINT_EPOCH.search(path.name)]
    resume = f"go on from it with --resume {max(checkpoints)}, " if checkpoints else ""
    if stored is None:
        what = "are files of a run whose settings are not known"
    elif found := differences(stored, config):
        what = f"is another run of this name ({found})"
    else:
        what = "is a run with the same settings already"
    return ConfigError(
        f"there {what}, with files such as {min(paths)}: {resume}choose another --output-dir and --snapshot-dir, or "
        "give --overwrite to lose it"
    )


def remove(paths: Iterable[Path]) -> None:
    """Deletes files."""
    for path in paths:
        path.unlink(missing_ok=True)
