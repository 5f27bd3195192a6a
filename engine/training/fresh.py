"""What a run begins with, drawn in the original's order: the points it uses and the networks."""

import random
import secrets
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from draw_poly.engine.config import Config
from draw_poly.engine.data import image
from draw_poly.engine.data.image import Picture, Split
from draw_poly.engine.model import initialisation as network
from draw_poly.engine.model.state import Learner, State


@dataclass(frozen=True)
class Draw:
    """The state and the points of a run that has not begun, all drawn from `seed`.

    The generators of NumPy and Python are as the original program leaves them.
    """

    state: State
    split: Split
    seed: int
    numpy_state: Any
    python_state: Any


def fresh(config: Config, picture: Picture) -> Draw:
    """Draws a run's beginning; without a seed, from one of its own.

    Raises ConfigError where the image has too few pixels.
    """
    seed = secrets.randbits(32) if config.seed is None else config.seed
    numbers = np.random.RandomState(seed)
    split = image.split(picture, config.points, config.batch_size, numbers)
    state = fresh_state(config, torch.Generator().manual_seed(seed))
    return Draw(state, split, seed, numbers.get_state(), random.Random(seed).getstate())


def fresh_state(config: Config, generator: torch.Generator) -> State:
    """The networks that a run begins with, drawn in the original's order."""
    optimizer, predictor_optimizer = config.optimizers
    parameters, coefficients = network.initialise_with_coefficients(config.network, generator)
    torch.rand((1024, 2), generator=generator)  # the original's model summary draws this batch
    predictor = None
    if term := config.kolmogorov_term:
        values = network.initialise(term.predictor, generator, output_bias=0.0)
        predictor = Learner.fresh(term.predictor, predictor_optimizer, values[None])
    return State(Learner.fresh(config.network, optimizer, parameters[None]), predictor, coefficients[None], generator)
