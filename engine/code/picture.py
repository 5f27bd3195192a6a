"""The picture that a network draws, how far it is from the image, and how many bits the rest of the image takes."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from draw_poly.kernels.reference import evaluate_grid
from draw_poly.kernels.spec import Network

Pixels = NDArray[np.uint8]
AT_ONCE = 2**17  # points
LEVELS = 256


@dataclass(frozen=True)
class Error:
    """Mean squared error of gray values from 0 to 1."""

    squared: float

    @property
    def decibels(self) -> float:
        """Peak signal-to-noise ratio."""
        return math.inf if self.squared == 0 else -10 * math.log10(self.squared)

    def __str__(self) -> str:
        return f"MSE {self.squared:.6g}, PSNR {self.decibels:.2f} dB"


def error(pixels: Pixels, image: Pixels) -> Error:
    """Of a picture against an image of its shape."""
    return Error(float(np.square((pixels.astype(np.float64) - image) / 255).mean()))


def drawn(network: Network, parameters: NDArray[np.float32], size: tuple[int, int]) -> Pixels:
    """The picture that a network draws, as a frame has it: (height, width), of several outputs (height, width, k)."""
    (width, height), channels = size, network.dims[-1]
    flat, rows = torch.from_numpy(parameters)[None], max(1, AT_ONCE // width)
    coefficients = torch.zeros((1, network.neurons), dtype=torch.int64)
    picture = np.empty((height, width, channels), np.uint8)
    with torch.inference_mode():
        for top in range(0, height, rows):
            part = picture[top : top + rows]
            outputs = torch.empty((1, channels, len(part), width))
            signatures = torch.empty((1, len(part), width), dtype=torch.int64)
            evaluate_grid(network, flat, coefficients, size, top, outputs, signatures)
            part[:] = (255 * outputs[0]).clamp_(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()
    return picture[..., 0] if channels == 1 else picture


def bits_of_the_rest(pixels: Pixels, image: Pixels) -> float:
    """Bits that the image takes for whoever has the picture: of the differences, by an ideal adaptive code.

    That is the Krichevsky-Trofimov code of their values modulo 256, which learns how often each is as it goes, and
    takes no note of where they stand (R. Krichevsky, V. Trofimov, The performance of universal encoding, 1981).
    """
    counts = np.bincount((image - pixels).reshape(-1), minlength=LEVELS)  # modulo 256, as uint8 has it
    total = math.lgamma(counts.sum() + LEVELS / 2) - math.lgamma(LEVELS / 2)
    each = sum(math.lgamma(count + 0.5) - math.lgamma(0.5) for count in counts.tolist())
    return (total - each) / math.log(2)
