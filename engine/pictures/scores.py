"""What a task measures of a frame: how near its picture is to the image, or how many points it gives another class."""

import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from draw_poly.engine.backends.base import Backend
from draw_poly.engine.config import Config
from draw_poly.engine.data import image
from draw_poly.engine.data.image import Picture, Split
from draw_poly.engine.pictures.drawing import Drawing, Pixels
from draw_poly.kernels import reference

Scores = Mapping[str, float]
LEAST_ERROR = 1e-12  # of a picture that is the image's


def scorer(
    config: Config, backend: Backend, picture: Picture, split: Split, size: tuple[int, int]
) -> Callable[[Drawing], Scores] | None:
    """What makes the scores of a drawing at this size (width, height), of a backend's network as it is; None for none.

    By the names of `record/measures.py`.
    """
    if config.learnt.classes:
        inputs, labels = image.samples(picture, split.training)
        loss, chunk = config.network.loss, config.chunk_size

        def misclassified(drawing: Drawing) -> Scores:
            found = [
                reference.classes_of(backend.evaluate_in_memory(part[None].contiguous())[0][0], loss)
                for part in inputs.split(chunk, 1)
            ]
            return {"misclassified": int((torch.cat(found) != labels[0]).sum())}

        return misclassified
    if config.learnt.colour:
        target, holes = picture.resized(size), picture.holes(size)
        return lambda drawing: {"psnr": psnr(drawing, target, None if holes is None else ~holes)}
    return None


def psnr(drawing: Drawing, target: Pixels, known: NDArray[np.bool_] | None = None) -> float:
    """The peak signal-to-noise ratio of a drawing's levels to a picture (height, width, 3), in decibels.

    Of the `known` pixels (height, width), where not all are.
    """
    drawing.arrive()
    squares, count = 0, drawing.pixels if known is None else int(known.sum())
    for channel, plane in enumerate(drawing.levels):
        error = plane.astype(np.int32) - target[:, :, channel]
        squares += int(np.sum(error * error, dtype=np.int64, where=True if known is None else known))
    mean = squares / (max(count, 1) * len(drawing.levels)) / 255**2
    return -10 * math.log10(max(mean, LEAST_ERROR))
