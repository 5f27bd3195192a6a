"""Trains small networks to draw images: `train`, `load`, `regions` and `sweep` are loaded where they are first used.

import draw_poly

run = draw_poly.train("picture.png", "[10]*8", 100, seed=1)
for epoch in run:
    print(epoch["epoch"], epoch["validation"])
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from draw_poly.engine.notebook import Run as Run
    from draw_poly.engine.notebook import Trained as Trained
    from draw_poly.engine.notebook import load as load
    from draw_poly.engine.notebook import train as train
    from draw_poly.engine.shown import RegionSet as RegionSet
    from draw_poly.engine.shown import regions as regions
    from draw_poly.engine.sweep.notebook import sweep as sweep

# The name of each, and the module that it is loaded from: PyTorch takes more than a second to import.
_PLACES = {
    "train": "engine.notebook", "load": "engine.notebook", "Run": "engine.notebook", "Trained": "engine.notebook",
    "regions": "engine.shown", "RegionSet": "engine.shown", "sweep": "engine.sweep.notebook",
}  # fmt: skip
__all__ = ["RegionSet", "Run", "Trained", "load", "regions", "sweep", "train"]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
