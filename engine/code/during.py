"""A run's networks coded at the epochs that are asked for, as they are trained."""

import logging

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from draw_poly.engine.code.range_coder import CodeError
from draw_poly.engine.code.weights import Weights
from draw_poly.engine.config import Config
from draw_poly.engine.flags import OFF
from draw_poly.engine.record.measures import Coded, Row
from draw_poly.engine.training.trainer import Epochs
from draw_poly.kernels.reference.loss import task_loss
from draw_poly.kernels.reference.network import forward, layers

log = logging.getLogger("polytope_nn.code")


class Coding:
    """Codes networks; at `validation`, coordinates (2, n) and targets (targets, n), it looks how wrong they become."""

    def __init__(self, config: Config, validation: tuple[Tensor, Tensor]) -> None:
        self._config, self._validation = config, validation
        self._failed = False

    def of(self, epochs: Epochs) -> Coded:
        """What codes of these epochs come to, by epoch, as far as they are due.

        Where a network cannot be coded it says so once and goes on without.
        """
        found: dict[int, Row] = {}
        if self._config.code == OFF:
            return found
        for number, parameters in enumerate(epochs.parameters, epochs.first):
            if not self._config.has_code(number) or self._failed:
                continue
            try:
                found[number] = self._row(parameters)
            except CodeError as error:
                self._failed = True
                log.warning("Networks are not coded any further: %s", error)
        return found

    def _row(self, parameters: NDArray[np.float32]) -> Row:
        code = Weights.of_epoch(self._config, parameters).code()
        network = self._config.network
        inputs, targets = self._validation
        outputs = forward(layers(torch.from_numpy(code.parameters), network), inputs, network.activation)[1]
        missed = float(task_loss(outputs.double(), targets, network.loss)[0])
        return {"bits": code.bits, "network_bits": code.network, "coded": missed}
