"""What a task measures of a frame: how near its picture is to the image, or how many points it gives another class."""

import math
from collections.abc import Callable, Mapping

import numpy as np
import torch

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
        target = picture.coloured(size)
        return lambda drawing: {"psnr": psnr(drawing, target)}
    return None


def psnr(drawing: Drawing, target: Pixels) -> float:
    """The peak signal-to-noise ratio of a drawing's levels to a picture (height, width, 3), in decibels."""
    drawing.arrive()
    errors = (plane.astype(np.int32) - target[:, :, channel] for channel, plane in enumerate(drawing.levels))
    mean = sum(int((error * error).sum(dtype=np.int64)) for error in errors) / target.size / 255**2
    return -10 * math.log10(max(mean, LEAST_ERROR))
