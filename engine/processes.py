"""The processes that train one network together, as `torchrun` starts them: who this one is, and how they speak.

Process 0 is the main one: it reads, decides and writes, and tells the others by `broadcast`. They are workers, and add
their share of each step by `all_reduce`. A run without `torchrun` is a group of one, to whom nobody listens.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from draw_poly.engine.config import ConfigError

# To join, or to take a step: it may wait while kernels are compiled.
STEP_TIMEOUT = timedelta(minutes=5)
# Gloo notices at once who is gone, NCCL by silence alone; and `torchrun` kills the others 30 seconds after it has asked
# them to stop.
NCCL_TIMEOUT = timedelta(seconds=20)
# Whoever waits for a word may wait for a frame, a film that is copied, a checkpoint on a slow disk.
WORD_TIMEOUT = timedelta(hours=1)
VARIABLES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


class Lost(Exception):
    """Another process is gone or does not answer; the text is a sentence for the user."""


@dataclass(frozen=True)
class Group:
    """This process, `rank` of `size` in all and `local_rank` of its machine's."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    # Torch's own groups, one for each patience; None is its default one.
    _words: Any = None
    _steps: Any = None

    @property
    def is_main(self) -> bool:
        """Whether this is the process that reads, decides and writes."""
        return self.rank == 0

    def broadcast(self, word: object) -> None:
        """Tells the others, who `hear` it. Raises Lost."""
        if self.size > 1:
            with self._noticing_loss():
                dist.broadcast_object_list([word], 0, self._words, torch.device("cpu"))

    def receive(self) -> Any:
        """Waits for what process 0 says next. Raises Lost."""
        words: list[Any] = [None]
        with self._noticing_loss():
            dist.broadcast_object_list(words, 0, self._words, torch.device("cpu"))
        return words[0]

    def all_reduce(self, vector: Tensor) -> None:
        """Replaces a vector by its sum over all processes, the same to the bit in each. Raises Lost."""
        with self._noticing_loss():
            dist.all_reduce(vector, group=self._steps)

    @contextmanager
    def _noticing_loss(self) -> Iterator[None]:
        try:
            yield
        except torch.AcceleratorError:
            raise
        except RuntimeError as error:  # torch has no kind of its own for a broken connection
            others = "the other process" if self.size == 2 else f"one of the other {self.size - 1} processes"
            raise Lost(f"{others} is gone or does not answer") from error


ALONE = Group()


@contextmanager
def joined() -> Iterator[Group]:
    """The group that `torchrun` has set this process into, or one of its own.

    Raises ConfigError where the environment names a group that cannot be joined.
    """
    if os.environ.get("WORLD_SIZE", "1") == "1":
        yield ALONE
        return
    missing = [name for name in VARIABLES if not os.environ.get(name)]
    if missing:
        raise ConfigError(
            f"WORLD_SIZE was {os.environ['WORLD_SIZE']}, without {', '.join(missing)}: start several processes by "
            "torchrun, or unset it"
        )
    if not dist.is_available():
        raise ConfigError("this build of torch has no torch.distributed: start one process")
    gpus = torch.cuda.is_available() and dist.is_nccl_available()
    if gpus:  # a loss is then an exception; else NCCL's watchdog ends this process, and with it the state
        os.environ.setdefault("TORCH_NCCL_BLOCKING_WAIT", "1")
    try:
        dist.init_process_group("cpu:gloo,cuda:nccl" if gpus else "gloo", timeout=STEP_TIMEOUT)
        words = dist.new_group(timeout=WORD_TIMEOUT)
        steps = dist.new_group(timeout=NCCL_TIMEOUT) if gpus else None
        group = Group(dist.get_rank(), dist.get_world_size(), int(os.environ["LOCAL_RANK"]), words, steps)
    except (RuntimeError, ValueError) as error:
        raise ConfigError(
            f"the {os.environ['WORLD_SIZE']} processes cannot reach each other ({str(error).splitlines()[0]})"
        ) from error
    try:
        yield group
    finally:
        with suppress(RuntimeError):  # some may be gone
            dist.destroy_process_group()
