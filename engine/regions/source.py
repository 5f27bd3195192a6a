"""A checkpoint as `draw-poly regions` is given it: its network, and the name that what is made of it bears."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from draw_poly.engine.record import checkpoint, checkpoint_file
from draw_poly.kernels.spec import Network


class Source(NamedTuple):
    """A network, its parameters (P,) in float64, the epochs that it was trained, and its checkpoint's name."""

    network: Network
    parameters: NDArray[np.float64]
    epoch: int
    name: str


def load(text: str) -> Source:
    """The network of a checkpoint, or of the newest in a folder. Raises CheckpointError where there is none."""
    path = checkpoint_file.newest(text)
    state = checkpoint.load(path).state
    return Source(state.main.network, state.main.parameters[0].double().numpy(), state.epoch, path.stem)
