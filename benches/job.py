"""The work that contenders share: image, points, network and predictor, drawn alike for all."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benches.baseline import Baseline, Module, Predictor, go_on
from benches.late import make_late
from draw_poly.engine.backends import select as backend
from draw_poly.engine.backends.select import training_threads
from draw_poly.engine.config import Config
from draw_poly.engine.data import image, image_file
from draw_poly.engine.data.image import Picture, Split
from draw_poly.engine.model import initialisation as network
from draw_poly.engine.model import kolmogorov
from draw_poly.engine.model.state import Learner, State
from draw_poly.engine.training.fresh import fresh_state
from draw_poly.engine.training.trainer import Trainer
from draw_poly.kernels.spec import Network

IMAGE = Path(__file__).parent / "images" / "moon.png"


@dataclass(frozen=True)
class Job:
    """What is trained: the README's main job, or one that differs in a size.

    `bins` is None without a Kolmogorov term; `side` scales the image of 1024 x 1024 pixels; `trained` epochs have
    passed before it begins; `late` is what a state comes to after many more, see `benches.late`.
    """

    shape: str = "[10]*8"
    points: int = 5000
    batch: int = 1024
    bins: int | None = None
    side: int = 1024
    trained: int = 0
    late: bool = False
    device: str = "cpu"

    @cached_property
    def config(self) -> Config:
        """As the command line would give it."""
        words: dict[str, Any] = {}
        if self.bins:
            words = {"kolmogorov_shape": "[8, 8]", "kolmogorov_weight": 0.05, "kolmogorov_bins": self.bins}
        return Config(
            str(IMAGE),
            self.shape,
            1_000_000,
            seed=1,
            points=self.points,
            batch_size=self.batch,
            device=self.device,
            **words,
        )

    @cached_property
    def picture(self) -> Picture:
        """The image."""
        picture = image_file.load(str(IMAGE))
        if self.side == picture.width:
            return picture
        return Picture(np.asarray(Image.fromarray(picture.pixels).resize((self.side, self.side))))

    @cached_property
    def split(self) -> Split:
        """The pixels that train and validate."""
        return image.split(self.picture, self.points, self.batch, np.random.RandomState(1))

    @cached_property
    def training(self) -> tuple[Tensor, Tensor]:
        """Coordinates (2, points) and values (1, points), on the CPU."""
        return image.samples(self.picture, self.split.training)

    @cached_property
    def validation(self) -> tuple[Tensor, Tensor]:
        """Coordinates (2, batch) and values (1, batch), on the CPU."""
        return image.samples(self.picture, self.split.validation)

    def state(self) -> State:
        """Where every contender begins: one of its own, on the CPU."""
        state = fresh_state(self.config, torch.Generator().manual_seed(1))
        for learner, learnt in zip(state.learners, self._learnt, strict=False):
            learner.parameters.copy_(learnt.parameters)
            learner.moments.copy_(learnt.moments)
            learner.steps = learnt.steps
        if self.late:
            make_late(state, self.config.kolmogorov_term)
        return state

    @cached_property
    def _learnt(self) -> list[Learner]:
        """The networks after the epochs that have passed; empty if none have."""
        if not self.trained:
            return []
        state = fresh_state(self.config, torch.Generator().manual_seed(1))
        chosen, _ = backend.choose(self.config, torch.device("cpu"))
        before = torch.get_num_threads()
        torch.set_num_threads(before if chosen.shares_work else self.threads(before))
        trainer = Trainer(chosen(state, self.config), self.training, self.validation, self.batch)
        with torch.inference_mode():
            for _ in range(self.trained):
                trainer.epoch()
        torch.set_num_threads(before)
        return state.learners

    def baseline(self) -> Baseline:
        """The original's way of working on a fresh state."""
        state, term, device = self.state().to(torch.device(self.device)), self.config.kolmogorov_term, self.device
        main = state.main
        named = network.named_views(main.parameters[0], main.network, network.network_names(main.network))
        module = Module(main.network, named, list(state.coefficients[0].split(main.network.dims[1:-1]))).to(device)
        predictor = None
        if term and state.predictor:
            named = network.named_views(
                state.predictor.parameters[0], term.predictor, network.predictor_names(term.predictor)
            )
            positions = kolmogorov.positions(main.network).t().contiguous().to(device)
            predictor = Predictor(term, positions, named).to(device)
        weight = term.weight if term else 0.0
        made = Baseline(module, predictor, weight, self.training, self.validation, self.batch)
        for optimizer, learner in zip(made.optimizers, state.learners, strict=True):
            go_on(optimizer, learner.moments[0], learner.steps)
        return made

    def threads(self, available: int) -> int:
        """How many threads the engine gives a step of this size."""
        return training_threads(self.config.network, self.config.kolmogorov_term, self.batch, available)

    @property
    def step_operations(self) -> float:
        """Floating-point operations of a step's matrix products."""
        network, term = self.config.network, self.config.kolmogorov_term
        count = _gradient_operations(network, self.batch)
        return count + _gradient_operations(term.predictor, network.size) if term else count

    @property
    def epoch_operations(self) -> float:
        """Those of an epoch: its steps, the last of them short, and the validation's forward pass."""
        network, term, steps = self.config.network, self.config.kolmogorov_term, -(-self.points // self.batch)
        count = _gradient_operations(network, self.points) + self.forward_operations(self.batch)
        return count + steps * _gradient_operations(term.predictor, network.size) if term else count

    def forward_operations(self, points: int) -> float:
        """Those of so many points evaluated."""
        return 2.0 * points * sum(out * into for out, into in self.config.network.shapes)


def _gradient_operations(network: Network, points: int) -> float:
    """Forward and backward; nobody wants the gradient of the coordinates."""
    products = [out * into for out, into in network.shapes]
    return points * (6.0 * sum(products) - 2.0 * products[0])
