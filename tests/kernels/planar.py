"""What holds of any planar map of convex cells: of every subdivision that the tests make, or could of a checkpoint."""

import warnings
from pathlib import Path

import numpy as np

from draw_poly.kernels.spec.subdivision import Subdivision


def check(found: Subdivision, total: float = 1.0) -> None:
    """What holds of any subdivision of a window."""
    vertices, edges, halves = len(found.places), len(found.edges), np.arange(len(found.twin))
    assert vertices - edges + found.cells == 1
    assert len(halves) == 2 * edges
    assert np.array_equal(found.twin[found.twin], halves)
    assert np.array_equal(found.origin[found.twin], found.origin[found.following])
    assert np.array_equal(np.sort(found.following), halves)
    assert np.array_equal(found.face[found.following], found.face)
    assert np.array_equal(found.label[found.twin], found.label)
    # Each cell is one loop: as many half-edges are met from its first as bear its number.
    here, met = found.first.copy(), np.zeros(found.cells, np.int64)
    going = np.ones(found.cells, bool)
    while going.any():
        met[going] += 1
        here = found.following[here]
        going &= here != found.first
    assert np.array_equal(met, found.sides)
    assert found.areas.min() > 0
    assert abs(found.areas.sum() - total) <= 1e-12 * total
    assert len(np.unique(found.patterns, axis=0)) == found.cells


def check_checkpoint(path: Path) -> None:
    """Subdivides by what a run has left, where that can be read and has regions."""
    from draw_poly.engine.record.checkpoint import load
    from draw_poly.kernels.cpu.regions import Regions
    from draw_poly.kernels.support import unsupported_by_regions

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            main = load(path).state.main
    except Exception:  # damaged on purpose, or another program's
        return
    if unsupported_by_regions(main.network) is None and main.parameters[0].isfinite().all():
        check(Regions(main.network).subdivide(main.parameters[0].numpy()))
