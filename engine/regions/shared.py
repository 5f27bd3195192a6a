"""A run's subdivisions, each made once for all who ask: a frame that is drawn, and what follows the epochs."""

from collections import deque
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from draw_poly.kernels.cpu.regions import Regions
from draw_poly.kernels.spec import Network
from draw_poly.kernels.spec.subdivision import Subdivision

REMEMBERED = 2  # one of either who asks


class SharedRegions:
    """Subdivides the unit square by a network, for any thread; the last ones are remembered."""

    def __init__(self, network: Network, most: int) -> None:
        self.network = network
        self._builder, self._lock = Regions(network, most), Lock()
        self._last: deque[tuple[NDArray[np.float32], Subdivision]] = deque(maxlen=REMEMBERED)

    def subdivide(self, parameters: NDArray[np.float32]) -> Subdivision:
        """The subdivision by these parameters (P,), with maps. Raises what `Regions.subdivide` does."""
        with self._lock:
            for known, found in self._last:
                if np.array_equal(known, parameters):
                    return found
            found = self._builder.subdivide(parameters.astype(np.float64))
            self._last.append((parameters.copy(), found))
            return found
