"""What training works on, and the backend and trainer that a process makes of it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from draw_poly.engine.backends import select as backend
from draw_poly.engine.backends.base import Backend
from draw_poly.engine.backends.data_parallel import Parallel
from draw_poly.engine.config import Config
from draw_poly.engine.data import image
from draw_poly.engine.data.image import Picture, Split
from draw_poly.engine.model.state import State
from draw_poly.engine.processes import Group
from draw_poly.engine.training.trainer import Trainer


@dataclass(frozen=True)
class Setup:
    """All that training needs to know of a run; several processes hear it from process 0, and need no file.

    `training` and `validation` are coordinates (2, n) and targets (targets, n).
    """

    config: Config
    state: State
    training: tuple[Tensor, Tensor]
    validation: tuple[Tensor, Tensor]

    @staticmethod
    def of(config: Config, state: State, picture: Picture, split: Split) -> "Setup":
        """On points of an image."""
        training, validation = (image.samples(picture, part) for part in (split.training, split.validation))
        return Setup(config, state, training, validation)

    def on(self, device: torch.device, chosen: type[Backend], group: Group) -> tuple[Backend, Trainer]:
        """The backend of this process, and the trainer of its share; sets torch's number of threads.

        On a GPU it is called, and they are used, within `on_device`.
        """
        config = self.config
        if device.type == "cpu":
            threads = backend.most_threads(config, group)
            if not chosen.shares_work:
                threads = backend.training_threads(config.network, config.kolmogorov_term, config.batch_size, threads)
            torch.set_num_threads(threads)
        made = chosen(self.state.to(device), config)
        together = made if group.size == 1 else Parallel(made, group)
        return made, Trainer(together, self.training, self.validation, config.batch_size)
