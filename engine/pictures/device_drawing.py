"""A network's picture drawn on its device: every pixel by one kernel; finished planes of 8 bits come back."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from draw_poly.engine.backends.base import Backend, log
from draw_poly.engine.pictures.drawing import Drawing
from draw_poly.kernels import reference
from draw_poly.kernels.picture.grid import COLOUR_BITS, SPREAD, widest
from draw_poly.kernels.spec import RIGHT

# Pixels of a part of a large picture: 13 bytes each on the device, beside the finished planes.
PART = 2**22


class DeviceRasterizer:
    """As `AdaptiveRasterizer`, for a backend of grids: a GPU has done all pixels before it has sorted out which.

    At most `chunk_size` points, or a row, are evaluated at once; fewer, for good and with a line in the log, where the
    device's memory does not hold so many. The drawing's numbers are there when `draw` returns, its planes once
    `Drawing.arrive` has: until then they cross to pinned memory on a stream of their own, while training goes on.
    """

    def __init__(self, backend: Backend, width: int, height: int, chunk_size: int, colours: bool = False) -> None:
        self._backend, self._device = backend, backend.device
        self._width, self._height, self._colours = width, height, colours
        self._rows = max(1, min(chunk_size // width, height))  # evaluated at once
        self._part = max(1, min(PART // width, height))
        self._copies = torch.cuda.Stream(self._device) if self._device.type == "cuda" else None

    def draw(self) -> Drawing:
        """The picture of the network as it is now."""
        while True:
            try:
                return self._draw()
            except torch.OutOfMemoryError:
                if self._rows == 1 and self._part == 1:
                    raise
            # Past the handler, whose exception holds on to the tensors of the calls that failed.
            torch.cuda.empty_cache()
            self._part = -(-self._part // 2)
            self._rows = min(-(-self._rows // 2), self._part)
            log.warning("Out of memory while drawing: going on with %d rows of pixels at once", self._rows)

    def _draw(self) -> Drawing:
        size, network = (self._height, self._width), self._backend.state.main.network
        labelled = network.loss.labelled
        shapes = [(network.dims[-1], *size), *[size] * (1 + labelled + self._colours)]
        planes = [torch.empty(shape, dtype=torch.uint8, device=self._device) for shape in shapes]
        ranges: list[Tensor] = []
        seen: list[Tensor] = []
        for top in range(0, self._height, self._part):
            outputs, signatures = self._evaluated(top, min(self._part, self._height - top), planes[1])
            part = slice(top, top + len(signatures))
            if labelled:
                outputs = reference.finished(outputs, network.loss)
                planes[2][part] = outputs.argmax(0)
                ranges.append(torch.stack(torch.aminmax(planes[2][part].flatten()[None].float(), dim=1)))
            else:
                ranges.append(torch.stack(torch.aminmax(outputs.flatten(1), dim=1)))
            planes[0][:, part] = outputs.mul_(255).nan_to_num_(nan=0.0).clamp_(0, 255)
            if self._colours:
                planes[-1][part] = signatures.mul(SPREAD.astype(np.int64).item()).bitwise_right_shift_(COLOUR_BITS)
            # Every region begins somewhere in a row; to sort those pixels alone is much less than to sort all.
            starts = signatures[:, 1:][(planes[1][part, :-1] & RIGHT) != 0]
            seen.append(torch.cat((signatures[:, 0], starts)).unique())
        polytopes = torch.cat(seen).unique().numel() if len(seen) > 1 else seen[0].numel()
        limits = torch.stack(ranges)  # (parts, 2, channels)
        lowest, highest = torch.stack((limits[:, 0].amin(0), limits[:, 1].amax(0))).cpu().numpy()
        arrive, host = self._sent(planes)
        levels, edges, *others = (plane.numpy() for plane in host)
        hues = others[-1] if self._colours else np.empty((0, 0), np.uint8)
        spread = widest(lowest, highest)
        classes = others[0] if labelled else None
        pixels = self._height * self._width
        return Drawing(levels, edges, hues, polytopes, *spread, pixels, arrive, classes=classes)

    def _evaluated(self, top: int, rows: int, edges: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs (channels, rows, width) and signatures (rows, width) from row `top` on.

        Writes these rows of `edges` (height, width).
        """
        channels = self._backend.state.main.network.dims[-1]
        outputs = torch.empty((channels, rows, self._width), device=self._device)
        signatures = torch.empty((rows, self._width), dtype=torch.int64, device=self._device)
        size = self._width, self._height
        for first in range(0, rows, self._rows):
            last = min(first + self._rows, rows)
            self._backend.evaluate_grid(
                size, top + first, outputs[None, :, first:last], signatures[None, first:last],
                edges[None, top + first : top + last],
            )  # fmt: skip
        return outputs, signatures

    def _sent(self, planes: list[Tensor]) -> tuple[Callable[[], object], list[Tensor]]:
        """The planes in host memory, and what waits until they are there."""
        if self._copies is None:
            return lambda: None, planes
        host = [torch.empty(plane.shape, dtype=plane.dtype, pin_memory=True) for plane in planes]
        self._copies.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._copies):
            for there, plane in zip(host, planes, strict=True):
                there.copy_(plane, non_blocking=True)
                plane.record_stream(self._copies)
            done = torch.cuda.Event()
            done.record()

        def arrive() -> None:
            torch.cuda.set_device(self._device)  # of the thread that waits, which would begin to use the first one
            done.synchronize()

        return arrive, host
