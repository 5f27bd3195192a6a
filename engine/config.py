"""Every flag once: its meaning, its default, what it allows; and the shape parser."""

import ast
import dataclasses
import math
import operator
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from draw_poly.engine.schedule import LOG, Schedule
from draw_poly.kernels.spec import CODE_LOSSES, OPTIMIZERS, CodeLength, Network, Optimizer

BACKENDS = ("auto", "cpu", "triton", "compile", "eager")
MAX_LAYERS = 10_000
MAX_WIDTH = 1_000_000
MAX_SEED = 2**32 - 1
# Pixels of a panel's side: three of them beside each other are what a JPEG may hold, and fit in memory.
LARGEST_FRAME = 16384
# Of a parameter, a rate or a weight: its square is still a float32; and a share of it is no subnormal one.
LARGEST_VALUE = 1e18
LEAST_VALUE = 1e-30
LARGEST_MOMENTUM = 0.9999999  # that float32 tells from 1
LARGEST_COUNT = 2**62
LARGEST_THREADS = 4096  # more than any machine's cores: libraries end the process that asks for many more
COUNT, RATE, VALUE = (1, LARGEST_COUNT), (LEAST_VALUE, LARGEST_VALUE), (-LARGEST_VALUE, LARGEST_VALUE)
PATHS = ("input", "output_dir", "snapshot_dir", "checkpoint_dir", "log_file", "resume")


class ConfigError(ValueError):
    """What the user asked for cannot be done; the text is one sentence for the user."""


@dataclass(frozen=True)
class Flag:
    """How a `Config` field appears on the command line."""

    group: str
    help: str
    example: str
    short: str | None = None
    kind: Callable[[str], Any] = str
    choices: tuple[str, ...] | None = None
    metavar: str | None = None
    limits: tuple[float, float] | None = None  # of a number: the least and the greatest that are allowed
    several: bool = False


def save_interval(text: str) -> int | str:
    """A number of epochs, or `log`. Raises ValueError for anything else."""
    return text if text == LOG else int(text)


WITH_MOMENTUM = ", ".join(kind.name for kind in OPTIMIZERS.values() if kind.has_momentum)
WORDS: dict[object, str] = {save_interval: f", or {LOG}"}


def _flag(default: Any, group: str, help: str, example: str, **words: Any) -> Any:
    flag = Flag(group, help, example, **words)
    metadata = {"flag": flag}
    return field(metadata=metadata) if default is ... else field(default=default, metadata=metadata)


NETWORK, DATA, OPTIMISER = "network and image", "points", "optimiser"
CODE, OUTPUT, FRAMES = "Kolmogorov term", "files", "frames and film"
RESUME, MACHINE = "checkpoints and resume", "machine and messages"


@dataclass(frozen=True)
class Config:
    """One run, as asked for. Raises ConfigError for a value outside what is allowed."""

    input: str = _flag(..., NETWORK, "image to learn, read as grayscale", "-i picture.png", short="i", metavar="IMAGE")
    shape: str = _flag(..., NETWORK, "hidden layer widths", "-s '[10]*8' or -s '[7,12,5]'", short="s")
    epochs: int = _flag(..., NETWORK, "epoch to train to, also on resume", "-e 1000", short="e", kind=int, limits=COUNT)
    seed: int | None = _flag(
        None, NETWORK, "seed of every random draw; none draws a fresh one", "--seed 1", kind=int, limits=(0, MAX_SEED)
    )

    points: int = _flag(5000, DATA, "pixels to train on", "-p 5000", short="p", kind=int, limits=COUNT)
    batch_size: int = _flag(
        1024, DATA, "points a step, and pixels to validate on", "-b 1024", short="b", kind=int, limits=COUNT
    )

    optimizer: str = _flag(
        "adam", OPTIMISER, "optimiser of both networks", "--optimizer sgd", choices=tuple(OPTIMIZERS)
    )
    learning_rate: float = _flag(0.001, OPTIMISER, "learning rate", "-l 0.001", short="l", kind=float, limits=RATE)
    momentum: float = _flag(
        0.9, OPTIMISER, f"momentum of {WITH_MOMENTUM}", "--momentum 0.9", kind=float, limits=(0, LARGEST_MOMENTUM)
    )

    kolmogorov_shape: str | None = _flag(
        None, CODE, "the predictor's hidden widths; needs a weight", "--kolmogorov-shape '[8, 8]'", metavar="SHAPE"
    )
    kolmogorov_weight: float = _flag(
        0.0, CODE, "weight of the term in the loss; 0 is off", "--kolmogorov-weight 0.05", kind=float, metavar="WEIGHT",
        limits=(0, LARGEST_VALUE),
    )  # fmt: skip
    kolmogorov_loss_type: str = _flag(
        "cross_entropy", CODE, "how a prediction is scored", "--kolmogorov-loss-type mse", choices=tuple(CODE_LOSSES)
    )
    kolmogorov_bins: int = _flag(
        256, CODE, "bins of the cross-entropy", "--kolmogorov-bins 128", kind=int, metavar="BINS",
        limits=(2, LARGEST_COUNT),
    )  # fmt: skip
    kolmogorov_weight_min: float = _flag(
        -3.0, CODE, "value of the first bin", "--kolmogorov-weight-min=-2", kind=float, metavar="VALUE", limits=VALUE
    )
    kolmogorov_weight_max: float = _flag(
        3.0, CODE, "value of the last bin", "--kolmogorov-weight-max 2", kind=float, metavar="VALUE", limits=VALUE
    )
    kolmogorov_lr: float | None = _flag(
        None, CODE, "the predictor's learning rate; else the main one", "--kolmogorov-lr 0.0005", kind=float,
        metavar="RATE", limits=RATE,
    )  # fmt: skip

    output_dir: str = _flag("results", OUTPUT, "folder of results", "-o results", short="o", metavar="DIR")
    snapshot_dir: str = _flag("snapshots", OUTPUT, "folder of frames", "--snapshot-dir snapshots", metavar="DIR")
    log_file: str | None = _flag(None, OUTPUT, "also write the log here", "--log-file run.log", metavar="FILE")
    overwrite: bool = _flag(
        False, OUTPUT, "replace the files of an earlier run of the same name", "--overwrite", kind=bool
    )

    save_interval: int | str = _flag(
        1, FRAMES, "epochs from frame to frame; log: every epoch to 100, then ever sparser", "--save-interval 10",
        kind=save_interval, metavar="EPOCHS", limits=COUNT,
    )  # fmt: skip
    snapshot_format: str = _flag(
        "png", FRAMES, "file format of frames; none leaves the film alone", "--snapshot-format jpg",
        choices=("png", "jpg", "none"),
    )  # fmt: skip
    frame_size: int = _flag(
        2048, FRAMES, "longest side of a panel, in pixels; a larger image is drawn smaller", "--frame-size 1024",
        kind=int, metavar="PIXELS", limits=(1, LARGEST_FRAME),
    )  # fmt: skip
    colour_regions: bool = _flag(
        False, FRAMES, "colour the first panel's polytopes, each stably by its pattern", "--colour-regions", kind=bool
    )
    drop_frames: bool = _flag(
        False, FRAMES, "leave frames out while the encoders are behind, in place of waiting", "--drop-frames",
        kind=bool,
    )  # fmt: skip
    jpeg_quality: int = _flag(
        90, FRAMES, "quality of jpg frames, 1 to 100", "--jpeg-quality 90", kind=int, metavar="QUALITY", limits=(1, 100)
    )
    no_film: bool = _flag(False, FRAMES, "draw frames but encode no film", "--no-film", kind=bool)
    smoothing_sigma: float = _flag(
        3.0, FRAMES, "width of the smoothed picture's Gaussian, in pixels", "--smoothing-sigma 3", kind=float,
        metavar="PIXELS", limits=RATE,
    )  # fmt: skip
    chunk_size: int = _flag(
        131072, FRAMES, "most points evaluated at once; bounds memory", "--chunk-size 65536", kind=int,
        metavar="POINTS", limits=COUNT,
    )  # fmt: skip

    checkpoint_interval: int | None = _flag(
        None, RESUME, "epochs from checkpoint to checkpoint; else only a final one", "--checkpoint-interval 100",
        kind=int, metavar="EPOCHS", limits=COUNT,
    )  # fmt: skip
    keep_checkpoints: int | None = _flag(
        None, RESUME, "remove a run's checkpoints but for the newest so many; else all stay", "--keep-checkpoints 3",
        kind=int, metavar="COUNT", limits=COUNT,
    )  # fmt: skip
    checkpoint_dir: str | None = _flag(
        None, RESUME, "folder of checkpoints; else the output folder", "--checkpoint-dir checkpoints", metavar="DIR"
    )
    resume: Sequence[str] | None = _flag(
        None, RESUME, "checkpoint to go on from: files, a folder or a pattern; of the run that fits best the newest "
        "epoch wins", "--resume results", metavar="PATH", several=True,
    )  # fmt: skip
    resume_optimizer: str | None = _flag(
        None, RESUME, "go on with another optimiser", "--resume-optimizer sgd", choices=tuple(OPTIMIZERS)
    )
    resume_lr: float | None = _flag(
        None, RESUME, "go on with another learning rate", "--resume-lr 0.01", kind=float, metavar="RATE", limits=RATE
    )

    backend: str = _flag(
        "auto", MACHINE, "what does the arithmetic; auto takes the fastest that runs here", "--backend compile",
        choices=BACKENDS,
    )  # fmt: skip
    precision: str = _flag(
        "fp32", MACHINE, "matrix products in float32 or, on --backend triton, for training alone in TensorFloat-32",
        "--precision tf32", choices=("fp32", "tf32"),
    )  # fmt: skip
    use_compile: bool = _flag(False, MACHINE, "the same as --backend compile", "--use-compile", kind=bool)
    device: str = _flag(
        "auto",
        MACHINE,
        "auto, cpu, cuda or cuda:N; each of several processes takes a GPU of its own",
        "--device cuda:1",
    )
    threads: int | None = _flag(
        None, MACHINE, "most threads of arithmetic on a CPU, of which none is without a core; else OMP_NUM_THREADS, or "
        "every core, or one for each of several processes", "--threads 2", kind=int, limits=(1, LARGEST_THREADS),
    )  # fmt: skip
    debug: bool = _flag(
        False,
        MACHINE,
        "also log the machine, each layer at every frame, times, and a failure's traceback",
        "-d",
        short="d",
        kind=bool,
    )
    quiet: bool = _flag(False, MACHINE, "show warnings and errors only", "--quiet", kind=bool)

    def __post_init__(self) -> None:
        if isinstance(self.resume, str | os.PathLike):
            object.__setattr__(self, "resume", (self.resume,))
        for item in dataclasses.fields(self):
            if (value := getattr(self, item.name)) is not None:
                object.__setattr__(self, item.name, _checked(item.name, item.metadata["flag"], value))
        if self.snapshot_format == "none" and self.no_film:
            raise ConfigError("--snapshot-format none keeps the film alone, but --no-film was given too")
        if self.use_compile:
            if self.backend not in ("auto", "compile"):
                raise ConfigError(f"--use-compile means --backend compile, but --backend {self.backend} was given too")
            object.__setattr__(self, "backend", "compile")
        if not self.resume:
            for name in ("resume_optimizer", "resume_lr"):
                if getattr(self, name) is not None:
                    raise ConfigError(f"{option(name)} changes a resumed run, and needs --resume with a checkpoint")
        self._check_code_length()
        parse_shape(self.shape, "--shape")

    def _check_code_length(self) -> None:
        weight = self.kolmogorov_weight
        if 0 < weight < LEAST_VALUE:
            raise ConfigError(
                f"--kolmogorov-weight was {weight}: give 0, or a number from {LEAST_VALUE:g} to {LARGEST_VALUE:g}"
            )
        if self.kolmogorov_shape is None:
            if weight:
                raise ConfigError(f"--kolmogorov-weight {weight} needs --kolmogorov-shape, such as '[8, 8]'")
            return
        if not weight:
            raise ConfigError(
                f"--kolmogorov-shape {self.kolmogorov_shape} needs a --kolmogorov-weight above 0, such as 0.05"
            )
        low, high = self.kolmogorov_weight_min, self.kolmogorov_weight_max
        if not low < high:
            raise ConfigError(
                f"--kolmogorov-weight-min {low} and --kolmogorov-weight-max {high} were given: "
                "give the first below the second"
            )
        parse_shape(self.kolmogorov_shape, "--kolmogorov-shape")
        if self.code_length and (limit := self.code_length.range_limit):
            raise ConfigError(
                f"--kolmogorov-weight-min {low} and --kolmogorov-weight-max {high} with --kolmogorov-bins "
                f"{self.kolmogorov_bins} were given: {limit}; give a wider range, nearer to zero, or fewer bins"
            )

    @property
    def network(self) -> Network:
        """The network that learns the image: coordinates to one gray value."""
        return Network((2, *parse_shape(self.shape, "--shape"), 1))

    @property
    def networks(self) -> list[Network]:
        """The networks that are trained: the one that learns the image and, where the term is on, the predictor."""
        code = self.code_length
        return [self.network] + ([code.predictor] if code else [])

    @property
    def schedule(self) -> Schedule:
        """When a frame is drawn."""
        return Schedule(self.save_interval)

    @property
    def code_length(self) -> CodeLength | None:
        """The Kolmogorov term, or None where it is off."""
        if self.kolmogorov_shape is None:
            return None
        outputs = CodeLength.outputs(self.kolmogorov_loss_type, self.kolmogorov_bins)
        hidden = parse_shape(self.kolmogorov_shape, "--kolmogorov-shape")
        return CodeLength(
            Network((3, *hidden, outputs)),
            self.kolmogorov_loss_type,
            self.kolmogorov_weight,
            self.kolmogorov_bins,
            self.kolmogorov_weight_min,
            self.kolmogorov_weight_max,
        )

    @property
    def optimizers(self) -> tuple[Optimizer, Optimizer]:
        """The optimisers of the network and of the predictor."""
        predictor_rate = self.learning_rate if self.kolmogorov_lr is None else self.kolmogorov_lr
        return (
            Optimizer(self.optimizer, self.learning_rate, self.momentum),
            Optimizer(self.optimizer, predictor_rate, self.momentum),
        )


def option(name: str) -> str:
    """A field's name as the user types it."""
    return "--" + name.replace("_", "-")


def _checked(name: str, flag: Flag, value: Any) -> Any:
    """A field's value as it is kept: a path without `~`, a number of its kind. Raises ConfigError for another one."""
    if name in PATHS:
        given = [value] if isinstance(value, str | os.PathLike) else value
        if not all(map(str, given)):
            raise ConfigError(f"{option(name)} was empty: give a path")
        paths = tuple(map(os.path.expanduser, given))
        return paths[0] if given is not value else paths
    if flag.choices and value not in flag.choices:
        raise ConfigError(f"{option(name)} was {value!r}: give one of {', '.join(flag.choices)}")
    if flag.limits is None or (flag.kind is save_interval and value == LOG):
        return value
    whole = flag.kind is not float
    least, most = flag.limits
    try:
        number = operator.index(value) if whole else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not least <= number <= most:
        wanted = f"a {'whole ' * whole}number from {_number(least)} to {_number(most)}"
        raise ConfigError(f"{option(name)} was {shortened(value)}: give {wanted}{WORDS.get(flag.kind, '')}")
    return number


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.9g}"


def shortened(value: object) -> str:
    """A value as a sentence shows it."""
    text = str(value)
    return text if len(text) <= 60 else text[:60] + "…"


def parse_shape(text: str, name: str = "--shape") -> tuple[int, ...]:
    """Hidden layer widths from lists of whole numbers joined by `+` and repeated by `*`: `[10]*8`, `[7, 12, 5]`.

    Nothing is evaluated. Raises ConfigError for anything else, and for a size no machine holds.
    """
    given = shortened(text)
    refusal = ConfigError(
        f"{name} was {given!r}: give a list of whole numbers of at least 1, such as '[10]*8' or '[7,12,5]'"
    )
    if len(text) > 100_000 or not re.fullmatch(r"[\d\s\[\](),*+]+", text, re.ASCII):
        raise refusal
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        widths = _shape_value(tree)
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        raise refusal from None
    if not isinstance(widths, list) or not widths or not all(isinstance(w, int) and w >= 1 for w in widths):
        raise refusal
    if len(widths) > MAX_LAYERS or max(widths) > MAX_WIDTH:
        raise ConfigError(
            f"{name} was {given!r}: at most {MAX_LAYERS} layers of at most {MAX_WIDTH} neurons are allowed"
        )
    return tuple(widths)


def _shape_value(node: ast.expr) -> int | list[int]:
    """The value of a shape's syntax tree. Raises TypeError or ValueError where it has none."""
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return node.value
    if isinstance(node, ast.List | ast.Tuple):
        parts = [_shape_value(item) for item in node.elts]
        if any(isinstance(part, list) for part in parts):
            raise TypeError("nested")
        return [part for part in parts if isinstance(part, int)]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult | ast.Add):
        left, right = _shape_value(node.left), _shape_value(node.right)
        if isinstance(node.op, ast.Add):
            if isinstance(left, list) and isinstance(right, list):
                return left + right
            raise TypeError("a sum of numbers")
        if isinstance(left, int):
            left, right = right, left
        if isinstance(left, list) and isinstance(right, int):
            # One layer past the limit is enough to be refused, however often it is repeated.
            return left * min(right, MAX_LAYERS // max(len(left), 1) + 1)
    raise TypeError("not a list")
