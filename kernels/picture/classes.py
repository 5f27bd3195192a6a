"""Outputs of a picture to levels, and to the classes that its pixels are given."""

import numpy as np

from draw_poly.kernels.compiled import kernel


@kernel
def classify(outputs, sigmoid, slope, levels, classes):  # type: ignore[no-untyped-def]
    """Writes levels (classes, height, width) of outputs after their activation, and the first largest's place.

    The activation is the sigmoid, or leaky ReLU of this slope: see `spec.Loss`.
    """
    channels, height, width = outputs.shape
    for row in range(height):
        for column in range(width):
            best, place = np.float32(-np.inf), 0
            for channel in range(channels):
                value = finished(outputs[channel, row, column], sigmoid, slope)
                scaled = np.float32(255.0) * value
                levels[channel, row, column] = np.uint8(min(scaled, np.float32(255.0))) if scaled > 0 else np.uint8(0)
                if value > best:
                    best, place = value, channel
            classes[row, column] = place


@kernel
def finished(value, sigmoid, slope):  # type: ignore[no-untyped-def]
    """An output after its activation."""
    if not sigmoid:
        return value if value > np.float32(0.0) else slope * value
    small = np.float32(np.exp(-abs(value)))
    share = np.float32(1.0) / (np.float32(1.0) + small)
    return share if value > np.float32(0.0) else small * share
