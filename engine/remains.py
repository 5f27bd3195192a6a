"""What a run left where it stopped: what is not there or not up to date, and where to look for what came before."""

import os
from dataclasses import replace
from pathlib import Path

from draw_poly.engine.config import Config
from draw_poly.engine.files import Files, read_settings
from draw_poly.engine.resume import Resumed


def unmade(place: Files, config: Config, run: str | None, epoch: int) -> list[str]:
    """What a run that has reached its last epoch has not made, or not of this epoch; nothing of another run's folder.

    Its record tells the epoch that all was made of.
    """
    stored = read_settings(place.settings)
    if (stored and stored.get("run") != run) or any(later > epoch for later in place.checkpoints()):
        return []
    wanted = [place.settings, place.metrics, *place.plots, place.smoothed, place.weights]
    wanted += [] if config.no_film else [place.film]
    missing = [path.name for path in wanted if not path.exists()]
    if config.snapshot_format != "none" and epoch not in place.frames():
        missing.append(place.frame(epoch).name)
    if not missing and stored and stored.get("finished_epoch") != epoch:
        missing.append("what was not made of this epoch")
    return missing + [path.name for path in place.litter()]


def origin(place: Files, found: Resumed, source: Path) -> Files | None:
    """The files of the run that this checkpoint is of, where they are others than those it goes on with."""
    for folder in (found.settings.get("output_dir"), source.parent):
        if folder is None:
            continue
        snapshots = found.settings.get("snapshot_dir", place.snapshot_dir)
        there = replace(place, output_dir=Path(folder), snapshot_dir=Path(snapshots))
        if os.path.realpath(there.folder) == os.path.realpath(place.folder):
            return None
        stored = read_settings(there.settings)
        if stored and stored.get("run") == found.run:
            return there
    return None
