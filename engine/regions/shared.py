"""A run's subdivisions, each made once for all who ask: a frame that is drawn, and what follows the epochs."""

from collections import OrderedDict
from concurrent.futures import Future
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from draw_poly.kernels.cpu.regions import Regions
from draw_poly.kernels.spec import Network
from draw_poly.kernels.spec.subdivision import Subdivision

REMEMBERED = 6  # as many as there may be who ask at a time


class SharedRegions:
    """Subdivides the unit square by a network, for several threads at a time; the last ones are remembered."""

    def __init__(self, network: Network, most: int) -> None:
        self.network, self._most = network, most
        self._idle: list[Regions] = []
        self._lock = Lock()
        self._last: OrderedDict[bytes, Future[Subdivision]] = OrderedDict()

    def subdivide(self, parameters: NDArray[np.float32]) -> Subdivision:
        """The subdivision by these parameters (P,). Raises what `Regions.subdivide` does."""
        key, mine = parameters.tobytes(), Future[Subdivision]()
        with self._lock:
            found = self._last.setdefault(key, mine)
            if found is mine:
                builder = self._idle.pop() if self._idle else Regions(self.network, self._most)
                if len(self._last) > REMEMBERED:
                    self._last.popitem(last=False)
        if found is mine:
            try:
                found.set_result(builder.subdivide(parameters.astype(np.float64)))
            except BaseException as error:
                found.set_exception(error)
            with self._lock:
                self._idle.append(builder)
        return found.result()
