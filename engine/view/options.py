"""What `draw-poly view` and `draw-poly export` are asked for: their settings, meaning, defaults and limits."""

import importlib.util
from dataclasses import dataclass

from draw_poly.engine.flags import ConfigError, check_fields, flag

SEEN, SERVED, MADE = "what is seen", "where it is served", "what is made"
LOCAL = ("127.0.0.1", "localhost", "::1")  # addresses that this machine alone reaches


@dataclass(frozen=True)
class ViewOptions:
    """One call of `draw-poly view`. Raises ConfigError for a value outside what is allowed."""

    folder: str = flag("results", SEEN, "folder of results, of a run or of a sweep", "results", metavar="FOLDER")
    port: int | None = flag(
        None, SERVED, "port to listen on; else 5006, or the next one that is free", "--port 8000", kind=int,
        metavar="PORT", limits=(1, 65535),
    )  # fmt: skip
    host: str = flag(
        LOCAL[0], SERVED, "address to listen on; any but this machine's own lets all who reach it see whatever is "
        "in the folder, without a password or encryption: 0.0.0.0 is the whole network", "--host 0.0.0.0",
        metavar="ADDRESS",
    )  # fmt: skip

    def __post_init__(self) -> None:
        require_bokeh()
        check_fields(self)
        if not self.host:
            raise ConfigError("--host was empty: give an address")


@dataclass(frozen=True)
class ExportOptions:
    """One call of `draw-poly export`. Raises ConfigError for a value outside what is allowed."""

    folder: str = flag(..., SEEN, "folder of results, or of a run", "results", metavar="FOLDER")
    output: str = flag("run.html", MADE, "file that is made", "-o run.html", short="o", metavar="FILE")
    run: str | None = flag(None, SEEN, "the run's folder, where there are several; else the newest", "--run moon.png_1")
    frames: int = flag(200, MADE, "most epochs that are in it", "--frames 100", kind=int, limits=(1, 10_000))

    def __post_init__(self) -> None:
        require_bokeh()
        check_fields(self)


def require_bokeh() -> None:
    """Raises ConfigError where what draws the pages is not installed."""
    if importlib.util.find_spec("bokeh") is None:
        raise ConfigError("the explorer needs Bokeh, which is not installed: pip install 'draw-poly[view]' brings it")
