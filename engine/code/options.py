"""What `draw-poly code` is asked for: its settings, with their meaning, defaults and limits."""

from dataclasses import dataclass

from draw_poly.engine.flags import ConfigError, check_fields, flag

MOST_BINS = 2**16
SOURCE, HOW = "code", "how weights are told"
PREDICTOR, COUNTS = "predictor", "counts"
LARGEST = 1e30


@dataclass(frozen=True)
class CodeOptions:
    """One call of `draw-poly code`. Raises ConfigError for a value outside what is allowed."""

    source: str = flag(
        ..., SOURCE, "checkpoint, a folder whose newest is taken, or a .poly file, which is decoded", "results",
        metavar="CHECKPOINT",
    )  # fmt: skip
    output_dir: str = flag("code", SOURCE, "folder of what is made", "-o code", short="o", metavar="DIR")
    input: str | None = flag(
        None, SOURCE, "image that it learned, for its errors; else where the checkpoint found it", "-i picture.png",
        short="i", metavar="IMAGE",
    )  # fmt: skip
    by: str | None = flag(
        None, HOW, "what tells probabilities: the predictor, if the checkpoint has one, else counts of what was told "
        "before", "--by counts", choices=(PREDICTOR, COUNTS),
    )  # fmt: skip
    bins: int | None = flag(
        None, HOW, "bins of a weight; else those that the Kolmogorov term is trained on, or 4096", "--bins 1024",
        kind=int, limits=(2, MOST_BINS),
    )  # fmt: skip
    weight_min: float | None = flag(
        None, HOW, "value of the first bin; else the term's, or the least weight", "--weight-min=-2", kind=float,
        metavar="VALUE", limits=(-LARGEST, LARGEST),
    )  # fmt: skip
    weight_max: float | None = flag(
        None, HOW, "value of the last bin; else the term's, or the greatest weight", "--weight-max 2", kind=float,
        metavar="VALUE", limits=(-LARGEST, LARGEST),
    )  # fmt: skip

    def __post_init__(self) -> None:
        check_fields(self)
        if self.weight_min is not None and self.weight_max is not None and not self.weight_min < self.weight_max:
            raise ConfigError(
                f"--weight-min {self.weight_min:g} and --weight-max {self.weight_max:g} were given: give the first "
                "below the second"
            )
