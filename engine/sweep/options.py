"""The flags of a sweep: see `engine/config.py` for those of each run."""

from collections.abc import Sequence
from dataclasses import dataclass

from draw_poly.engine.flags import ConfigError, flag

SWEEP = "sweep of many runs"


@dataclass(frozen=True)
class Options:
    """What makes a run many."""

    vary: Sequence[str] | None = flag(
        None, SWEEP, "train a run for each value; repeated, for each combination: a,b,c, 1..64, 1..64..4, or "
        "1e-4..1e-2 log 5", "--vary seed=1..64", metavar="FLAG=VALUES", repeated=True,
    )  # fmt: skip
    vary_from: str | None = flag(
        None,
        SWEEP,
        "a table of runs, CSV: flags in its first line, a run a row",
        "--vary-from runs.csv",
        metavar="FILE",
    )
    cluster: str | None = flag(
        None, SWEEP, "train on a Dask cluster's workers: a scheduler's address or file, or local:N, which starts N "
        "workers on this machine", "--cluster tcp://host:8786", metavar="WHERE",
    )  # fmt: skip

    member_frames: bool = flag(
        False, SWEEP, "each run of a sweep has frames and a film of its own, not tiles of the sheet alone",
        "--member-frames", kind=bool,
    )  # fmt: skip

    def __post_init__(self) -> None:
        if self.cluster is not None and not self:
            raise ConfigError("--cluster trains the members of a sweep: give --vary or --vary-from as well")
        if self.cluster is not None and self.member_frames:
            raise ConfigError(
                "--member-frames draws where members train, and --cluster brings no pictures back: give one"
            )

    def __bool__(self) -> bool:
        return bool(self.vary or self.vary_from)
