"""What fits in memory, asked before the work begins."""

import os

from draw_poly.engine import allowance
from draw_poly.engine.config import Config, ConfigError

# Parameters, gradient, two moments, two snapshots of three, four partial gradients, and one to spare; float32.
BYTES_PER_PARAMETER = 4 * 15
# Of the image: twice as it is decoded, gray value; then gray value and order.
BYTES_PER_PIXEL = 10
# Of an image whose colours are learnt, besides: those, and what is made of them.
BYTES_PER_COLOUR = 10
# Of a panel: drawings that wait, and for each thread that writes them three panels, filtered and compressed.
BYTES_PER_PANEL_PIXEL = 80
# Value, gradient and one in between; float32.
BYTES_PER_ACTIVATION = 4 * 3
# Of a parameter on a GPU besides: partial gradients of as many programs as a batch has tiles, at most.
BYTES_PER_PARTIAL = 4 * 128
# Coordinates and value; place in two orders.
BYTES_PER_POINT = 4 * 3 + 8 * 2


def total_memory() -> int | None:
    """Bytes of memory that this process may have: the machine's, or its container's; None where nobody tells."""
    return min((limit for limit in (_physical(), allowance.memory()) if limit is not None), default=None)


def _physical() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None


def require(needed: int, what: str) -> None:
    """Raises ConfigError where `needed` bytes are more than nine tenths of what this process may have."""
    total = total_memory()
    if total is not None and needed > 0.9 * total:
        has = "this machine has" if total == _physical() else "this process may have"
        raise ConfigError(f"{what} needs about {_gib(needed)}, and {has} {_gib(total)}")


def require_network(config: Config, tile_points: int) -> None:
    """Raises ConfigError, naming the flag that weighs most, where training cannot fit in memory.

    Frames are evaluated `tile_points` at a time.
    """
    parts = _parts(config)
    parts[f"--chunk-size {config.chunk_size}"] = tile_points * max(config.network.dims) * BYTES_PER_ACTIVATION
    require(sum(parts.values()), max(parts, key=lambda part: parts[part]))


def _parts(config: Config) -> dict[str, int]:
    """Bytes that training a network takes, by the flags that they come from."""
    network, term = config.network, config.kolmogorov_term
    batch = min(config.batch_size, config.points)
    parts = {
        f"--shape {config.shape[:60]}, {network.size} parameters,": network.size * BYTES_PER_PARAMETER,
        f"--batch-size {config.batch_size}": batch * sum(network.dims) * BYTES_PER_ACTIVATION,
    }
    if term:
        parts[f"--kolmogorov-shape {(config.kolmogorov_shape or '')[:60]} with --kolmogorov-bins {term.bins}"] = (
            term.predictor.size * BYTES_PER_PARAMETER + network.size * sum(term.predictor.dims) * BYTES_PER_ACTIVATION
        )
    return parts


def networks_that_fit(config: Config, on_device: int | None) -> int | None:
    """How many networks are trained side by side in half of the memory there is; None where nobody tells.

    That is `on_device` bytes of a GPU, else what this process may have.
    """
    total = total_memory() if on_device is None else on_device
    if total is None:
        return None
    term = config.kolmogorov_term
    parameters = config.network.size + (term.predictor.size if term else 0)
    each = sum(_parts(config).values()) + (config.points + config.batch_size) * BYTES_PER_POINT
    if on_device is not None:
        each += parameters * BYTES_PER_PARTIAL
    return max(1, total // (2 * each))


def _gib(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"
