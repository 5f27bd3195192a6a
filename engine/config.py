"""Every setting once: its meaning, its default, what it allows."""

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

from draw_poly.engine.flags import (
    COUNT,
    LARGEST_COUNT,
    LARGEST_VALUE,
    LEAST_VALUE,
    OFF,
    RATE,
    VALUE,
    ConfigError,
    check_fields,
    code_interval,
    flag,
    option,
    region_interval,
    save_interval,
)
from draw_poly.engine.optimiser import OPTIMISER, OptimiserSettings
from draw_poly.engine.regions.options import COLOURS_IN_RUNS, LIMITS
from draw_poly.engine.schedule import Schedule
from draw_poly.engine.shape import parse_shape
from draw_poly.engine.task import TASKS, Task
from draw_poly.kernels.spec import (
    ACTIVATIONS,
    FINAL_ACTIVATIONS,
    KOLMOGOROV_LOSSES,
    LEAST_SLOPE,
    OPTIMIZERS,
    OPTIONS,
    SLOPE,
    KolmogorovTerm,
    Network,
    Optimizer,
    RateSchedule,
    activation,
)
from draw_poly.kernels.spec.subdivision import MOST_REGIONS

__all__ = ["BACKENDS", "Config", "ConfigError"]

BACKENDS = ("auto", "cpu", "triton", "compile", "eager")
MAX_SEED = 2**32 - 1
# Pixels of a panel's side: three of them beside each other are what a JPEG may hold, and fit in memory.
LARGEST_FRAME = 16384
MOST_TOLERANCE = 127  # past it, a colour would be near two classes
LARGEST_THREADS = 4096  # more than any machine's cores: libraries end the process that asks for many more
NETWORK, DATA = "network and image", "points"
TERM, OUTPUT, FRAMES = "Kolmogorov term", "files", "frames and film"
REGIONS, CODE = "exact regions", "code in bits"
RESUME, MACHINE = "checkpoints and resume", "machine and messages"
# In the order in which help has them.
GROUPS = NETWORK, DATA, OPTIMISER, TERM, OUTPUT, FRAMES, REGIONS, CODE, RESUME, MACHINE


@dataclass(frozen=True)
class Config(OptimiserSettings):
    """One run, as asked for. Raises ConfigError for a value outside what is allowed."""

    input: str = flag(..., NETWORK, "image to learn", "-i picture.png", short="i", metavar="IMAGE")
    shape: str = flag(..., NETWORK, "hidden layer widths", "-s '[10]*8' or -s '[7,12,5]'", short="s")
    epochs: int = flag(..., NETWORK, "epoch to train to, also on resume", "-e 1000", short="e", kind=int, limits=COUNT)
    seed: int | None = flag(
        None, NETWORK, "seed of every random draw; none draws a fresh one", "--seed 1", kind=int, limits=(0, MAX_SEED)
    )
    activation: str = flag(
        ACTIVATIONS[0], NETWORK, "what becomes of a hidden neuron's sum; relu is leaky_relu with slope 0, relu2 its "
        "square, for few layers, which has no exact regions",
        "--activation relu", choices=ACTIVATIONS,
    )  # fmt: skip
    slope: float = flag(
        SLOPE, NETWORK, "leaky_relu's factor below zero", "--slope 0.1", kind=float, metavar="FACTOR",
        limits=(LEAST_SLOPE, 1.0),
    )  # fmt: skip

    task: str = flag(
        "gray", NETWORK, "what is learnt of the image: its gray values, its colours, or which of its pixels are pure "
        "red, green and blue", "--task rgb", choices=tuple(TASKS),
    )  # fmt: skip
    final_activation: str = flag(
        FINAL_ACTIVATIONS[0], NETWORK, "what becomes of the outputs of --task classes, before they are logits",
        "--final-activation sigmoid", choices=FINAL_ACTIVATIONS,
    )  # fmt: skip

    class_tolerance: int = flag(
        0, DATA, "by how many levels a channel may be off pure red, green or blue in a pixel of that class",
        "--class-tolerance 40", kind=int, metavar="LEVELS", limits=(0, MOST_TOLERANCE),
    )  # fmt: skip
    ignore_transparent: bool = flag(
        False, DATA, "leave pixels out that are wholly transparent: they are no points", "--ignore-transparent",
        kind=bool,
    )  # fmt: skip
    points: int = flag(5000, DATA, "pixels to train on", "-p 5000", short="p", kind=int, limits=COUNT)
    batch_size: int = flag(
        1024, DATA, "points a step, and pixels to validate on", "-b 1024", short="b", kind=int, limits=COUNT
    )

    kolmogorov_shape: str | None = flag(
        None, TERM, "the predictor's hidden widths; needs a weight", "--kolmogorov-shape '[8, 8]'", metavar="SHAPE"
    )
    kolmogorov_weight: float = flag(
        0.0, TERM, "weight of the term in the loss; 0 is off", "--kolmogorov-weight 0.05", kind=float, metavar="WEIGHT",
        limits=(0, LARGEST_VALUE),
    )  # fmt: skip
    kolmogorov_loss_type: str = flag(
        "cross_entropy",
        TERM,
        "how a prediction is scored",
        "--kolmogorov-loss-type mse",
        choices=tuple(KOLMOGOROV_LOSSES),
    )
    kolmogorov_bins: int = flag(
        256, TERM, "bins of the cross-entropy", "--kolmogorov-bins 128", kind=int, metavar="BINS",
        limits=(2, LARGEST_COUNT),
    )  # fmt: skip
    kolmogorov_weight_min: float = flag(
        -3.0, TERM, "value of the first bin", "--kolmogorov-weight-min=-2", kind=float, metavar="VALUE", limits=VALUE
    )
    kolmogorov_weight_max: float = flag(
        3.0, TERM, "value of the last bin", "--kolmogorov-weight-max 2", kind=float, metavar="VALUE", limits=VALUE
    )
    kolmogorov_lr: float | None = flag(
        None, TERM, "the predictor's learning rate; else the main one", "--kolmogorov-lr 0.0005", kind=float,
        metavar="RATE", limits=RATE,
    )  # fmt: skip

    output_dir: str = flag("results", OUTPUT, "folder of results", "-o results", short="o", metavar="DIR")
    snapshot_dir: str = flag("snapshots", OUTPUT, "folder of frames", "--snapshot-dir snapshots", metavar="DIR")
    log_file: str | None = flag(None, OUTPUT, "also write the log here", "--log-file run.log", metavar="FILE")
    overwrite: bool = flag(
        False, OUTPUT, "replace the files of an earlier run of the same name", "--overwrite", kind=bool
    )

    save_interval: int | str = flag(
        1, FRAMES, "epochs from frame to frame; log: every epoch to 100, then ever sparser", "--save-interval 10",
        kind=save_interval, metavar="EPOCHS", limits=COUNT,
    )  # fmt: skip
    snapshot_format: str = flag(
        "png", FRAMES, "file format of frames; none leaves the film alone", "--snapshot-format jpg",
        choices=("png", "jpg", "none"),
    )  # fmt: skip
    frame_size: int = flag(
        2048, FRAMES, "longest side of a panel, in pixels; a larger image is drawn smaller", "--frame-size 1024",
        kind=int, metavar="PIXELS", limits=(1, LARGEST_FRAME),
    )  # fmt: skip
    colour_regions: str | None = flag(
        None, FRAMES, "colour the first panel's polytopes, each stably by its pattern, or with --regions by its age, "
        "area, gradient or output", "--colour-regions area", choices=COLOURS_IN_RUNS, bare="pattern",
    )  # fmt: skip
    drop_frames: bool = flag(
        False, FRAMES, "leave frames out while the encoders are behind, in place of waiting", "--drop-frames",
        kind=bool,
    )  # fmt: skip
    jpeg_quality: int = flag(
        90, FRAMES, "quality of jpg frames, 1 to 100", "--jpeg-quality 90", kind=int, metavar="QUALITY", limits=(1, 100)
    )
    no_film: bool = flag(False, FRAMES, "draw frames but encode no film", "--no-film", kind=bool)
    smoothing_sigma: float = flag(
        3.0, FRAMES, "width of the smoothed picture's Gaussian, in pixels", "--smoothing-sigma 3", kind=float,
        metavar="PIXELS", limits=RATE,
    )  # fmt: skip
    chunk_size: int = flag(
        131072, FRAMES, "most points evaluated at once; bounds memory", "--chunk-size 65536", kind=int,
        metavar="POINTS", limits=COUNT,
    )  # fmt: skip

    regions: int | str = flag(
        "frames", REGIONS, "epochs whose exact regions are found, beside training, for regions.csv: frames (those with "
        "one), every, a number N for each N-th, or off", "--regions every", kind=region_interval, metavar="EPOCHS",
        limits=COUNT,
    )  # fmt: skip
    most_regions: int = flag(
        MOST_REGIONS, REGIONS, "regions past which a run goes on without them", "--most-regions 100000", kind=int,
        metavar="COUNT", limits=LIMITS,
    )  # fmt: skip

    code: int | str = flag(
        OFF, CODE, "epochs from code to code: the network as a file, its bits and its error, in metrics.csv; or off",
        "--code 100", kind=code_interval, metavar="EPOCHS", limits=COUNT,
    )  # fmt: skip

    checkpoint_interval: int | None = flag(
        None, RESUME, "epochs from checkpoint to checkpoint; else only a final one", "--checkpoint-interval 100",
        kind=int, metavar="EPOCHS", limits=COUNT,
    )  # fmt: skip
    keep_checkpoints: int | None = flag(
        None, RESUME, "remove a run's checkpoints but for the newest so many; else all stay", "--keep-checkpoints 3",
        kind=int, metavar="COUNT", limits=COUNT,
    )  # fmt: skip
    checkpoint_dir: str | None = flag(
        None, RESUME, "folder of checkpoints; else the output folder", "--checkpoint-dir checkpoints", metavar="DIR"
    )
    resume: Sequence[str] | None = flag(
        None, RESUME, "checkpoint to go on from: files, a folder or a pattern; of the run that fits best the newest "
        "epoch wins", "--resume results", metavar="PATH", several=True,
    )  # fmt: skip
    resume_optimizer: str | None = flag(
        None,
        RESUME,
        "go on with another optimiser, or the same with other options; moments that mean the same stay",
        "--resume-optimizer sgd",
        choices=tuple(OPTIMIZERS),
    )
    resume_lr: float | None = flag(
        None, RESUME, "go on with another learning rate", "--resume-lr 0.01", kind=float, metavar="RATE", limits=RATE
    )

    backend: str = flag(
        "auto", MACHINE, "what does the arithmetic; auto takes the fastest that runs here", "--backend compile",
        choices=BACKENDS,
    )  # fmt: skip
    precision: str = flag(
        "fp32", MACHINE, "matrix products in float32 or, on --backend triton, for training alone in TensorFloat-32",
        "--precision tf32", choices=("fp32", "tf32"),
    )  # fmt: skip
    use_compile: bool = flag(False, MACHINE, "the same as --backend compile", "--use-compile", kind=bool)
    device: str = flag(
        "auto",
        MACHINE,
        "auto, cpu, cuda or cuda:N; each of several processes takes a GPU of its own",
        "--device cuda:1",
    )
    threads: int | None = flag(
        None, MACHINE, "most threads of arithmetic on a CPU, of which none is without a core; else OMP_NUM_THREADS, or "
        "every core, or one for each of several processes", "--threads 2", kind=int, limits=(1, LARGEST_THREADS),
    )  # fmt: skip
    view: bool = flag(
        False, MACHINE, "serve the explorer of the output folder beside training, until that ends", "--view", kind=bool
    )
    debug: bool = flag(
        False,
        MACHINE,
        "also log the machine, each layer at every frame, times, and a failure's traceback",
        "-d",
        short="d",
        kind=bool,
    )
    quiet: bool = flag(False, MACHINE, "show warnings and errors only", "--quiet", kind=bool)

    def __post_init__(self) -> None:
        if isinstance(self.resume, str | os.PathLike):
            object.__setattr__(self, "resume", (self.resume,))
        check_fields(self)
        if self.snapshot_format == "none" and self.no_film:
            raise ConfigError("--snapshot-format none keeps the film alone, but --no-film was given too")
        if self.colour_regions not in (None, "pattern") and self.regions == "off":
            raise ConfigError(f"--colour-regions {self.colour_regions} is of exact regions: give --regions frames too")
        if self.use_compile:
            if self.backend not in ("auto", "compile"):
                raise ConfigError(f"--use-compile means --backend compile, but --backend {self.backend} was given too")
            object.__setattr__(self, "backend", "compile")
        if not self.resume:
            for name in ("resume_optimizer", "resume_lr"):
                if getattr(self, name) is not None:
                    raise ConfigError(f"{option(name)} changes a resumed run, and needs --resume with a checkpoint")
        if self.activation != ACTIVATIONS[0] and self.slope != SLOPE:
            raise ConfigError(f"--activation {self.activation} has slope 0, but --slope {self.slope:g} was given too")
        if not self.learnt.classes:
            for name in ("final_activation", "class_tolerance"):
                if getattr(self, name) != DEFAULTS[name]:
                    raise ConfigError(f"{option(name)} is of --task classes, and this run has --task {self.task}")
        if self.warmup >= self.epochs:
            raise ConfigError(f"--warmup was {self.warmup}, and --epochs {self.epochs}: give fewer than those")
        if self.final_lr and self.schedule == "constant":
            raise ConfigError("--final-lr is what a schedule ends with, and this run has none: give --schedule too")
        self._check_kolmogorov_term()
        parse_shape(self.shape, "--shape")

    def _check_kolmogorov_term(self) -> None:
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
        if self.kolmogorov_term and (limit := self.kolmogorov_term.range_limit):
            raise ConfigError(
                f"--kolmogorov-weight-min {low} and --kolmogorov-weight-max {high} with --kolmogorov-bins "
                f"{self.kolmogorov_bins} were given: {limit}; give a wider range, nearer to zero, or fewer bins"
            )

    @property
    def network(self) -> Network:
        """The network that learns the image: coordinates to a gray value, a colour, or a logit for each class."""
        dims = (2, *parse_shape(self.shape, "--shape"), self.learnt.outputs)
        return Network(dims, activation(self.activation, self.slope), self.learnt.loss(self.final_activation))

    @property
    def drawn_here(self) -> "Config":
        """The same of the network alone, on this machine's CPU: what draws it there, whatever trains it."""
        return replace(
            self, backend="auto", device="cpu", precision="fp32", use_compile=False, kolmogorov_shape=None,
            kolmogorov_weight=0.0,
        )  # fmt: skip

    @property
    def learnt(self) -> Task:
        """What is known of its task."""
        return TASKS[self.task]

    @property
    def networks(self) -> list[Network]:
        """The networks that are trained: the one that learns the image and, where the term is on, the predictor."""
        term = self.kolmogorov_term
        return [self.network] + ([term.predictor] if term else [])

    def has_regions(self, epoch: int) -> bool:
        """Whether the regions after an epoch are found."""
        if isinstance(self.regions, int):
            return epoch % self.regions == 0
        return self.regions == "every" or (self.regions == "frames" and epoch in self.frames)

    def has_code(self, epoch: int) -> bool:
        """Whether the network after an epoch is coded."""
        return isinstance(self.code, int) and epoch % self.code == 0

    @property
    def frames(self) -> Schedule:
        """When a frame is drawn."""
        return Schedule(self.save_interval)

    def is_saved_at(self, epoch: int) -> bool:
        """Whether its number has a checkpoint be written after an epoch."""
        return self.checkpoint_interval is not None and epoch % self.checkpoint_interval == 0

    def saved_after(self, epoch: int) -> int:
        """The next epoch that has a checkpoint, which the last one always has."""
        every = self.checkpoint_interval
        return self.epochs if every is None else min(self.epochs, (epoch // every + 1) * every)

    @property
    def kolmogorov_term(self) -> KolmogorovTerm | None:
        """The Kolmogorov term, or None where it is off."""
        if self.kolmogorov_shape is None:
            return None
        outputs = KolmogorovTerm.outputs(self.kolmogorov_loss_type, self.kolmogorov_bins)
        hidden = parse_shape(self.kolmogorov_shape, "--kolmogorov-shape")
        return KolmogorovTerm(
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
        options = {name: getattr(self, name) for name in OPTIONS}
        main = Optimizer(self.optimizer, self.learning_rate, schedule=self.rate_schedule, **options)
        return main, replace(main, learning_rate=predictor_rate)

    @property
    def steps(self) -> int:
        """Of an epoch."""
        return -(-self.points // self.batch_size)

    @property
    def rate_line(self) -> str:
        """The learning rate's way in words; empty where it stays what it is."""
        end = "" if self.rate_schedule.waits else f" at epoch {self.epochs}"
        way = "" if self.schedule == "constant" else f", {self.schedule} to {self.final_lr:g}{end}"
        warm = f", grown to in {self.warmup} epochs" if self.warmup else ""
        return f"Learning rate: {self.learning_rate:g}{warm}{way}" if way or warm else ""

    @property
    def rate_schedule(self) -> RateSchedule:
        """How the learning rate goes, step by step."""
        final = self.final_lr / self.learning_rate
        return RateSchedule(self.schedule, self.epochs * self.steps, self.warmup * self.steps, final)


# Of the class, in the order in which help has their groups: inherited ones would else come first.
FIELDS = sorted(dataclasses.fields(Config), key=lambda item: GROUPS.index(item.metadata["flag"].group))
DEFAULTS = {item.name: item.default for item in FIELDS}
