"""What a run left where it stopped: what is not there or not up to date, and where to look for what came before."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from draw_poly.engine.config import Config
from draw_poly.engine.files import Files, read_settings
from draw_poly.engine.record.checkpoint import Checkpoint
from draw_poly.engine.record.measures import BITS


def unmade(place: Files, config: Config, record: Mapping[str, Any] | None, begins: Checkpoint) -> list[str]:
    """What a run that has reached its last epoch has not made, or not of this epoch; nothing of another run's folder.

    Its record, `config.json`, tells the epoch that all was made of.
    """
    epoch = begins.state.epoch
    if (record and record.get("run") != begins.run) or any(later > epoch for later in place.checkpoints()):
        return []
    coded = isinstance(config.code, int) and config.code <= epoch  # else there is nothing to plot of codes
    plots = [path for path in place.plots if coded or path.stem != BITS.name]
    wanted = [place.settings, place.metrics, *plots, place.smoothed, place.weights]
    wanted += [] if config.no_film else [place.film]
    missing = [path.name for path in wanted if not path.exists()]
    if config.snapshot_format != "none" and epoch not in place.frames():
        missing.append(place.frame(epoch).name)
    if not missing and record and record.get("finished_epoch") != epoch:
        missing.append("what was not made of this epoch")
    return missing + [path.name for path in place.litter()]


def origin(place: Files, begins: Checkpoint, source: Path) -> Files | None:
    """The files of the run that this checkpoint is of, where they are others than those it goes on with."""
    for folder in (begins.settings.get("output_dir"), source.parent):
        if folder is None:
            continue
        snapshots = begins.settings.get("snapshot_dir", place.snapshot_dir)
        there = replace(place, output_dir=Path(folder), snapshot_dir=Path(snapshots))
        if os.path.realpath(there.folder) == os.path.realpath(place.folder):
            return None
        stored = read_settings(there.settings)
        if stored and stored.get("run") == begins.run:
            return there
    return None
