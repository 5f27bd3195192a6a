"""What fits in memory, asked before the work begins."""

import os

from draw_poly.engine import allowance
from draw_poly.engine.config import Config, ConfigError

# Parameters, gradient, two moments, two snapshots of three, four partial gradients, and one to spare; float32.
BYTES_PER_PARAMETER = 4 * 15
# Of the image: twice as it is decoded, gray value; then gray value and order.
BYTES_PER_PIXEL = 10
# Of a panel: drawings that wait, and for each thread that writes them three panels, filtered and compressed.
BYTES_PER_PANEL_PIXEL = 80
# Value, gradient and one in between; float32.
BYTES_PER_ACTIVATION = 4 * 3


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
    network, term = config.network, config.kolmogorov_term
    batch = min(config.batch_size, config.points)
    parts = {
        f"--shape {config.shape[:60]}, {network.size} parameters,": network.size * BYTES_PER_PARAMETER,
        f"--batch-size {config.batch_size}": batch * sum(network.dims) * BYTES_PER_ACTIVATION,
        f"--chunk-size {config.chunk_size}": tile_points * max(network.dims) * BYTES_PER_ACTIVATION,
    }
    if term:
        parts[f"--kolmogorov-shape {(config.kolmogorov_shape or '')[:60]} with --kolmogorov-bins {term.bins}"] = (
            term.predictor.size * BYTES_PER_PARAMETER + network.size * sum(term.predictor.dims) * BYTES_PER_ACTIVATION
        )
    require(sum(parts.values()), max(parts, key=lambda part: parts[part]))


def _gib(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"
