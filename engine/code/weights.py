"""Weights that are to be coded, and how: in which bins, by what probabilities."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from draw_poly.engine.code.codec import Code, encode
from draw_poly.engine.code.grid import Grid
from draw_poly.engine.code.options import COUNTS, PREDICTOR
from draw_poly.engine.code.predictor import Trained, predictor_of
from draw_poly.engine.code.range_coder import CodeError
from draw_poly.engine.config import Config
from draw_poly.engine.model.kolmogorov import positions
from draw_poly.engine.model.state import State
from draw_poly.kernels.reference.kolmogorov import TERM_LOSS
from draw_poly.kernels.reference.network import forward, layers
from draw_poly.kernels.spec import KolmogorovTerm, Network

BINS = 4096  # where no term's bins are trained for: with more the picture hardly gets better


@dataclass(frozen=True)
class Wanted:
    """How to code, where it is not left to the weights: by `predictor` or `counts`, in which bins."""

    by: str | None = None
    bins: int | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Weights:
    """A network with its parameters (P,) and, where its Kolmogorov term was on, its predictor's; float64."""

    network: Network
    parameters: NDArray[np.float64]
    term: KolmogorovTerm | None = None
    predictor: NDArray[np.float64] | None = None

    @staticmethod
    def of_state(state: State, term: KolmogorovTerm | None) -> "Weights":
        """Those of a run between two epochs."""
        main, *others = (one.parameters[0].double().numpy() for one in state.learners)
        return Weights(state.main.network, main, term if others else None, others[0] if others else None)

    @staticmethod
    def of_epoch(config: Config, parameters: NDArray[np.float32]) -> "Weights":
        """Those after an epoch, of all learners behind each other (P,)."""
        numbers, network, term = parameters.astype(np.float64), config.network, config.kolmogorov_term
        return Weights(network, numbers[: network.size], term, numbers[network.size :] if term else None)

    def code(self, wanted: Wanted | None = None, size: tuple[int, int] = (0, 0)) -> Code:
        """Codes them; `size` is the picture's width and height. Raises CodeError for what cannot be done."""
        wanted = wanted or Wanted()
        if not np.isfinite(self.parameters).all():
            raise CodeError("the network has parameters that are not finite, which have no bin")
        if wanted.by == PREDICTOR and self.term is None:
            raise CodeError(f"--by {PREDICTOR} was given, but the checkpoint has none: train with --kolmogorov-shape")
        term = None if wanted.by == COUNTS else self.term
        grid = self._grid(wanted, term)
        return encode(self.network, self.parameters, grid, self._trained(term, grid) if term else None, size)

    def estimate(self, grid: Grid) -> float | None:
        """The Kolmogorov term in bits, of a density in bins of this grid; None where it tells no bits."""
        if self.term is None or self.term.loss == "mse":
            return None
        nats = float(TERM_LOSS[self.term.loss](self._outputs(), torch.from_numpy(self.parameters), self.term)[0])
        finer = 0.0 if self.term.binned else math.log2((grid.bins - 1) / (grid.high - grid.low))
        return nats / math.log(2) + finer * self.network.size

    def _grid(self, wanted: Wanted, term: KolmogorovTerm | None) -> Grid:
        given: dict[str, Any] = {"bins": wanted.bins, "low": wanted.low, "high": wanted.high}
        given = {name: value for name, value in given.items() if value is not None}
        if term and term.binned:
            if given:
                raise CodeError(
                    "the predictor was trained on the Kolmogorov term's bins, and tells no others: leave --bins, "
                    f"--weight-min and --weight-max out, or give --by {COUNTS} too"
                )
            found = {"bins": term.bins, "low": term.low, "high": term.high}
        else:
            around = Grid.around(self.parameters, BINS)
            found = {"bins": BINS, "low": around.low, "high": around.high}
        try:
            return Grid(**(found | given))
        except ValueError as error:
            raise CodeError(str(error)) from error

    def _trained(self, term: KolmogorovTerm, grid: Grid) -> Trained:
        assert self.predictor is not None
        if not np.isfinite(self.predictor).all():
            raise CodeError("the predictor has parameters that are not finite: give --by counts")
        missed = 0.0
        if term.loss == "mse":
            missed = float(np.square(self._outputs()[0].numpy() - self.parameters).mean())
        return predictor_of(term, self.predictor, missed, grid)

    def _outputs(self) -> torch.Tensor:
        """What the predictor that was trained tells, (outputs, P)."""
        assert self.term
        network = self.term.predictor
        stack = layers(torch.from_numpy(self.predictor), network)
        return forward(stack, positions(self.network).double(), network.activation)[1]
