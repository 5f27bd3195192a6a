"""What `draw-poly regions` is asked for: its settings, with their meaning, defaults and limits."""

from collections.abc import Sequence
from dataclasses import dataclass

from draw_poly.engine.flags import ConfigError, check_fields, flag
from draw_poly.kernels.spec.subdivision import MOST_REGIONS
from draw_poly.kernels.spec.window import UNIT_SQUARE, check_window

FORMATS = ("svg", "npz", "geojson", "csv")
COLOURS = ("pattern", "area", "gradient", "output")
COLOURS_IN_RUNS = ("pattern", "age", *COLOURS[1:])
LIMITS = (1, 2**30)  # of --most-regions
SOURCE, FILM = "regions", "film into a point"


def numbers(text: str) -> tuple[float, ...]:
    """Numbers with commas between them. Raises ValueError for anything else."""
    return tuple(float(part) for part in text.split(","))


@dataclass(frozen=True)
class RegionsOptions:
    """One call of `draw-poly regions`. Raises ConfigError for a value outside what is allowed."""

    source: str = flag(..., SOURCE, "checkpoint, or a folder whose newest is taken", "results", metavar="CHECKPOINT")
    output_dir: str = flag("regions", SOURCE, "folder of what is made", "-o regions", short="o", metavar="DIR")
    window: Sequence[float] = flag(
        UNIT_SQUARE, SOURCE, "part of the plane, x0,y0,x1,y1; the image is 0,0,1,1", "--window 0.4,0.4,0.6,0.6",
        kind=numbers, metavar="X0,Y0,X1,Y1",
    )  # fmt: skip
    formats: Sequence[str] = flag(
        ("svg",), SOURCE, "what is made: svg, npz, geojson, csv", "--formats svg npz", several=True, metavar="FORMAT"
    )
    colour: str = flag("pattern", SOURCE, "what a cell's colour tells", "--colour area", choices=COLOURS)
    most_regions: int = flag(
        MOST_REGIONS, SOURCE, "regions past which it gives up", "--most-regions 100000", kind=int, metavar="COUNT",
        limits=LIMITS,
    )  # fmt: skip
    creases: bool = flag(
        False, SOURCE, "also the lines of the first layer: angle, offset and norm as CSV, scatter and histograms",
        "--creases", kind=bool,
    )  # fmt: skip
    animate: Sequence[float] | None = flag(
        None, FILM, "a film that dives into this point, each frame exact for its window", "--animate 0.5,0.5",
        kind=numbers, metavar="X,Y",
    )  # fmt: skip
    depth: float = flag(
        1e-6, FILM, "width of the film's last window", "--depth 1e-9", kind=float, metavar="WIDTH", limits=(1e-12, 1)
    )
    frames: int = flag(240, FILM, "frames of the film, 24 a second", "--frames 120", kind=int, limits=(2, 100_000))
    size: int = flag(720, FILM, "side of the film, in pixels", "--size 1080", kind=int, limits=(16, 4096))

    def __post_init__(self) -> None:
        check_fields(self)
        if unknown := [name for name in self.formats if name not in FORMATS]:
            raise ConfigError(f"--formats was {unknown[0]!r}: give some of {', '.join(FORMATS)}")
        try:
            object.__setattr__(self, "window", check_window(tuple(self.window)))
        except ValueError as error:
            raise ConfigError(f"--window: {error}") from error
        if self.animate is not None and len(self.animate) != 2:
            raise ConfigError("--animate takes two numbers, the point's x,y")
