"""What a gradient leaves for the update."""

from collections.abc import Sequence

import torch
from torch import Tensor

from draw_poly.kernels.spec import KolmogorovTerm, Network
from draw_poly.kernels.tensors import shares


class Workspace:
    """What `gradient` leaves for `update` and `total`; `weights` (networks,) of the term are the code's by default."""

    def __init__(
        self, network: Network, term: KolmogorovTerm | None, points: int, device: torch.device, networks: int = 1,
        weights: Sequence[float] | None = None,
    ) -> None:  # fmt: skip
        self.network, self.term = network, term
        self.networks = [network, *([term.predictor] if term else [])]  # of the learners
        self.shares = shares(network, term, networks, weights)
        self.gradients: list[Tensor] = []  # (networks, P) of each learner
        self.losses = torch.empty((networks, 0), device=device)  # (networks, 1 per learner)
