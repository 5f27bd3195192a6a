"""The sections, in their order: what must not be missed comes first. Each file is imported when its turn comes."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Section:
    """One part of the command: what it shows, about how many seconds it takes on a GPU, and the file that does it.

    `quiet`: its times want a machine that compiles nothing meanwhile.
    """

    name: str
    title: str
    estimate: float
    file: str
    quiet: bool = False

    @property
    def work(self) -> Callable[[Any], None]:
        """What does it, given a `Bench`."""
        found: Callable[[Any], None] = importlib.import_module(f"benches.gpu.{self.file}").work
        return found


SECTIONS = (
    Section("command", "the program as its user starts it, there and on the CPU", 50, "command_line"),
    Section("checks", "every kernel against float64, over many draws", 60, "checks"),
    Section("times", "steps, launches and evaluations", 40, "times", quiet=True),
    Section("epochs", "epochs, alone and by the command line", 40, "epochs", quiet=True),
    Section("bits", "what must be the same to the bit", 40, "bits"),
    Section("sanitizers", "reruns, and compute-sanitizer on every kernel", 70, "sanitizers"),
    Section("stalls", "what Nsight Compute sees", 40, "stalls", quiet=True),
    Section("peers", "JAX, PyTorch's compiler and the original's way", 90, "peers", quiet=True),
    Section("tuning", "tiles, warps, stages and scratch", 30, "tuning", quiet=True),
)
