"""What fits in this machine's memory, asked before the work begins."""

import os

from engine.config import ConfigError
from kernels.spec import CodeLength, Network

# Parameters, gradient, two moments, the epoch's snapshot of three, and one to spare; float32.
BYTES_PER_PARAMETER = 4 * 8
# Gray value, order, output, signature, mask and two composed frames of three panels.
BYTES_PER_PIXEL = 40
ACTIVATION_COPIES = 3


def total_memory() -> int | None:
    """Bytes of physical memory, None where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None


def require(needed: int, what: str) -> None:
    """Raises ConfigError where `needed` bytes are more than nine tenths of the machine's memory."""
    total = total_memory()
    if total is not None and needed > 0.9 * total:
        raise ConfigError(f"{what} needs about {_gib(needed)}, and this machine has {_gib(total)}")


def require_network(network: Network, code: CodeLength | None, batch: int, chunk: int, what: str) -> None:
    """Raises ConfigError where training this network on this batch cannot fit in memory."""
    parameters = network.size + (code.predictor.size if code else 0)
    training = batch * sum(network.dims)
    if code:
        training += network.size * sum(code.predictor.dims)
    drawing = chunk * max(network.dims)
    require(
        parameters * BYTES_PER_PARAMETER + 4 * ACTIVATION_COPIES * (training + drawing),
        f"{what}, a network of {network.size} parameters,",
    )


def _gib(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"
