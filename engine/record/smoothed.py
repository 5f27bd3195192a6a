"""The kernel-smoothed picture: what the training points alone tell."""

import numpy as np

from draw_poly.engine.data.image import Picture, Split
from draw_poly.engine.pictures.drawing import Pixels

CYAN = (0, 255, 255)


def smoothed(picture: Picture, split: Split, sigma: float, size: tuple[int, int]) -> Pixels:
    """What the training points alone tell: their Gaussian-smoothed values over their smoothed density.

    At the size (width, height) of a frame's panels, (height, 2 * width, 3): beside it the original; cyan where no point
    is near. `sigma` is in pixels of the image.
    """
    from scipy.ndimage import gaussian_filter

    width, height = size
    original, channels = picture.coloured(size), 1 if picture.pixels.ndim == 2 else 3
    indices = split.training.numpy()
    rows = indices // picture.width * height // picture.height
    columns = indices % picture.width * width // picture.width
    values, density = np.zeros((channels, height, width), np.float32), np.zeros((height, width), np.float32)
    for plane, levels in zip(values, picture.pixels.reshape(-1, channels)[indices].T, strict=True):
        np.add.at(plane, (rows, columns), levels)
    np.add.at(density, (rows, columns), 1.0)
    sigma *= max(width, height) / max(picture.width, picture.height)
    # Past the image's longest side a Gaussian meets no point, and its norm cancels in the quotient.
    radius = int(min(4 * sigma + 0.5, max(size)))
    *smooth, density = (gaussian_filter(grid, sigma, mode="constant", radius=radius) for grid in (*values, density))
    known = density > np.finfo(np.float32).tiny
    means = [np.divide(plane, density, out=np.zeros_like(plane), where=known) for plane in smooth]
    levels = np.clip(np.rint(np.stack(means, 2)), 0, 255).astype(np.uint8)
    left = np.where(known[:, :, None], levels, np.array(CYAN, np.uint8))
    return np.concatenate((left, original), axis=1)
