"""The original program's way of working, written anew from its description, to measure against.

A module with points in rows, a DataLoader that collates sample by sample and is made again each epoch, signatures
computed while training, `.item()` of every batch's losses, the validation pass twice, frames on the training path.
On a GPU the points stay on the host, and each batch goes to the device.
"""

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from draw_poly.kernels.spec import KolmogorovTerm, Network

if TYPE_CHECKING:  # imported where a frame is drawn: a machine for training alone may lack it
    import av


class Module(nn.Module):
    """The network as a module: inputs (points, 2) to outputs (points, 1) and signatures (points,)."""

    def __init__(self, network: Network, parameters: dict[str, Tensor], coefficients: list[Tensor]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for out, into in network.shapes:
            layers += [nn.Linear(into, out), nn.LeakyReLU(network.slope)]
        self.network = nn.Sequential(*layers[:-1])
        self.load_state_dict(parameters)
        self.coefficients = coefficients

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs and signatures."""
        signatures = torch.zeros(inputs.shape[0], dtype=torch.int64, device=inputs.device)
        hidden, layer = inputs, 0
        for module in self.network:
            hidden = module(hidden)
            if isinstance(module, nn.Linear) and layer < len(self.coefficients):
                signatures += ((hidden > 0).long() * self.coefficients[layer]).sum(1)
                layer += 1
        return hidden, signatures


class Predictor(nn.Module):
    """The predictor of the Kolmogorov term and its binned cross-entropy, with a bin by bin soft target."""

    def __init__(self, term: KolmogorovTerm, positions: Tensor, parameters: dict[str, Tensor]) -> None:
        super().__init__()
        *hidden, last = term.predictor.shapes
        layers: list[nn.Module] = []
        for out, into in hidden:
            layers += [nn.Linear(into, out), nn.LeakyReLU(term.predictor.slope)]
        self.hidden_layers = nn.Sequential(*layers)
        self.output_layer = nn.Linear(last[1], last[0])
        self.load_state_dict(parameters)
        self.term, self.positions = term, positions

    def loss(self, weights: Tensor) -> Tensor:
        """Cross-entropy of weights (P,)."""
        term = self.term
        logits = self.output_layer(self.hidden_layers(self.positions))  # (P, bins)
        clipped = weights.clamp(term.low, term.high)
        center = (clipped - term.low) / (term.high - term.low) * (term.bins - 1)
        distances = (center[:, None] - torch.arange(term.bins, dtype=torch.float32, device=weights.device)).abs()
        target = torch.softmax(-distances / 0.1, dim=1)
        return -(target * torch.log_softmax(logits, dim=1)).sum(1).mean()


class Baseline:
    """Trains as the original does; `epoch` and `frame` are what it does in an epoch."""

    def __init__(
        self,
        module: Module,
        predictor: Predictor | None,
        weight: float,
        training: tuple[Tensor, Tensor],
        validation: tuple[Tensor, Tensor],
        batch_size: int,
    ) -> None:
        self.module, self.predictor, self.weight = module, predictor, weight
        self.data = TensorDataset(training[0].t().contiguous(), training[1].t().contiguous())
        self.device = next(module.parameters()).device
        self.validation = [one.t().contiguous().to(self.device) for one in validation]
        self.batch_size = batch_size
        self.encoder: av.VideoCodecContext | None = None
        self.optimizers = [torch.optim.Adam(module.parameters(), lr=0.001)]
        if predictor:
            self.optimizers.append(torch.optim.Adam(predictor.parameters(), lr=0.001))

    def epoch(self) -> tuple[float, float]:
        """One epoch; returns the mean task loss and the validation error."""
        loader = DataLoader(self.data, batch_size=self.batch_size, shuffle=True)
        task = sum(self.step(inputs, targets) for inputs, targets in loader)
        for _ in range(2):
            with torch.no_grad():
                outputs, _ = self.module(self.validation[0])
                error = nn.functional.mse_loss(outputs, self.validation[1]).item()
        return task / len(loader), error

    def step(self, inputs: Tensor, targets: Tensor) -> float:
        """One step on a batch (points, 2), (points, 1), every loss brought to the host; returns the task's."""
        inputs, targets = inputs.to(self.device), targets.to(self.device)
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        outputs, _ = self.module(inputs)
        task = loss = nn.functional.mse_loss(outputs, targets)
        if self.predictor:
            flat = torch.cat([parameter.reshape(-1) for parameter in self.module.parameters()])
            term = self.weight * self.predictor.loss(flat)
            loss = task + term
            term.item()
        loss.backward()
        for optimizer in self.optimizers:
            optimizer.step()
        loss.item()
        return task.item()

    def frame(self, target: np.ndarray, path: Path, chunk: int = 131072) -> None:
        """One frame: every pixel evaluated in chunks, boundaries, three panels, a PNG file."""
        height, width = target.shape
        y, x = np.mgrid[:height, :width]
        grid = torch.from_numpy(np.stack((x.ravel() / width, y.ravel() / height), 1).astype(np.float32))
        values, signatures = [], []
        with torch.no_grad():
            for part in grid.split(chunk):
                outputs, signature = self.module(part.to(self.device))
                values.append(outputs[:, 0].cpu().numpy())
                signatures.append(signature.cpu().numpy())
        gray = np.clip(255 * np.concatenate(values).reshape(height, width), 0, 255).astype(np.uint8)
        regions = np.concatenate(signatures).reshape(height, width)
        boundary = np.zeros((height, width), bool)
        boundary[1:-1, 1:-1] = (
            (regions[1:-1, 1:-1] != regions[:-2, 1:-1])
            | (regions[1:-1, 1:-1] != regions[2:, 1:-1])
            | (regions[1:-1, 1:-1] != regions[1:-1, :-2])
            | (regions[1:-1, 1:-1] != regions[1:-1, 2:])
        )
        plain = np.repeat(gray[:, :, None], 3, axis=2)
        drawn = plain.copy()
        drawn[boundary] = (255, 0, 0)
        panels = np.concatenate((drawn, plain, np.repeat(target[:, :, None], 3, axis=2)), axis=1)
        import av

        self.encoder = self.encoder or png_encoder(panels.shape[1], panels.shape[0])
        packets = self.encoder.encode(av.VideoFrame.from_ndarray(panels, format="rgb24"))
        path.write_bytes(b"".join(bytes(packet) for packet in packets))


def png_encoder(width: int, height: int) -> "av.VideoCodecContext":
    """FFmpeg's, three times as fast as Pillow's and no slower than the original's library."""
    import av

    context = av.CodecContext.create("png", "w")
    context.width, context.height, context.pix_fmt = width, height, "rgb24"
    context.time_base, context.thread_count = Fraction(1, 1), 1
    context.options = {"pred": "sub", "compression_level": "2"}
    return context


def go_on(optimizer: torch.optim.Adam, moments: Tensor, steps: int) -> None:
    """Has PyTorch's Adam begin after so many steps, with moments (2, P) of its parameters one after the other."""
    for group in optimizer.param_groups if steps else ():
        parameters = group["params"]
        rows = (row.split([one.numel() for one in parameters]) for row in moments)
        for one, first, second in zip(parameters, *rows, strict=True):
            count = torch.tensor(float(steps), device=one.device if group["fused"] else None)
            own = {"exp_avg": first.view_as(one).clone(), "exp_avg_sq": second.view_as(one).clone()}
            optimizer.state[one] = {"step": count, **own}
