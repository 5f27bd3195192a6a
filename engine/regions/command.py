"""`draw-poly regions`: the exact regions of a checkpoint, written as files."""

import logging
from pathlib import Path

from draw_poly.engine.flags import ConfigError
from draw_poly.engine.record.disk import write_whole
from draw_poly.engine.record.log_file import say_plainly
from draw_poly.engine.regions import creases
from draw_poly.engine.regions.export import WRITERS
from draw_poly.engine.regions.options import RegionsOptions
from draw_poly.engine.regions.source import Source, load
from draw_poly.kernels.cpu.regions import Regions
from draw_poly.kernels.spec.subdivision import Subdivision, TooManyRegions
from draw_poly.kernels.spec.window import UNIT_SQUARE

log = logging.getLogger("polytope_nn.regions")
DONE, FAILED = 0, 3


def run(options: RegionsOptions) -> int:
    """Makes what is asked for. Returns the exit status; raises ConfigError for what cannot be done."""
    say_plainly(log)
    source = load(options.source)
    folder = Path(options.output_dir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        found = subdivided(source, options)
        stem = folder / (source.name + _window_name(options))
        for name in options.formats:
            _write(stem.with_name(f"{stem.name}.{name}"), WRITERS[name](found, source.name, options.colour))
        if options.creases:
            lines = creases.creases(source.network, source.parameters)
            _write(folder / f"{source.name}-creases.csv", creases.as_csv(lines))
            _write(folder / f"{source.name}-creases.png", creases.plot(lines))
            log.info("%s", creases.summary(lines))
        if options.animate is not None:
            from draw_poly.engine.regions.dive import dive

            dive(source, options, stem.with_name(f"{stem.name}-dive.mp4"))
    except OSError as error:
        log.error("%s: %s", error.filename or folder, error.strerror)  # noqa: TRY400
        return FAILED
    return DONE


def subdivided(source: Source, options: RegionsOptions) -> Subdivision:
    """The regions in the window that is asked for, with a line on them. Raises ConfigError where they cannot be had."""
    builder = Regions(source.network, options.most_regions)
    try:
        found = builder.subdivide(source.parameters, tuple(options.window))  # type: ignore[arg-type]
    except TooManyRegions as error:
        raise ConfigError(f"{error}: give a smaller --window, or --most-regions") from error
    except ValueError as error:
        raise ConfigError(f"{source.name}: {error}") from error
    log.info("%s", told(found))
    return found


def told(found: Subdivision) -> str:
    """What a subdivision is, in a line."""
    line = f"{found.cells} regions, {len(found.edges)} edges, {len(found.places)} vertices"
    if found.cells_contracted or found.edges_contracted:
        line += f"; without area and left out: {found.cells_contracted} cells, {found.edges_contracted} edges"
    if found.undecided:
        line += f"; {found.undecided} signs of vertices are within rounding of zero"
    return line


def _window_name(options: RegionsOptions) -> str:
    return "" if options.window == UNIT_SQUARE else "_" + "_".join(f"{number:.12g}" for number in options.window)


def _write(path: Path, content: bytes) -> None:
    write_whole(path, content)
    log.info("%s", path)
