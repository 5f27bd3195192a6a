"""`config.json`: what was asked for, what became of it, and up to which epoch everything is made."""

import json
import platform

import torch

from draw_poly import engine
from draw_poly.engine.backends.base import Backend
from draw_poly.engine.files import settings_of
from draw_poly.engine.prepare.prepare import Prepared
from draw_poly.engine.record.disk import write_whole


def write_settings(
    prepared: Prepared, backend: Backend, finished: int | None, processes: int = 1, synced: bool = True
) -> None:
    """Writes the run's record; `finished` is the epoch that everything else in its folders is of by now."""
    config, picture, source = prepared.config, prepared.picture, prepared.resumed_from
    content = {
        "version": engine.__version__,
        "run": prepared.checkpoint.run,
        "settings": settings_of(config),
        "resolved": {
            "hidden_widths": config.network.dims[1:-1],
            "parameters": config.network.size,
            "predictor_parameters": config.kolmogorov_term.predictor.size if config.kolmogorov_term else 0,
            "drawn_seed": prepared.checkpoint.seed,
            "resumed_from": str(source) if source else None,
            "image": {"width": picture.width, "height": picture.height, "sha256": picture.digest},
            "backend": backend.name,
            "device": str(backend.device),
            "processes": processes,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
        "finished_epoch": finished,
    }
    write_whole(prepared.files.settings, (json.dumps(content, indent=2) + "\n").encode(), synced)
