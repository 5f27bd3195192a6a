"""Kernels compiled ahead on all cores into Triton's cache, while other things go on.

A worker launches its share of all cases with tensors on the CPU, while a driver of ours stands in for CUDA's: it names
the device's target and launches nothing. What the compiler makes goes where the run will look for it.

    python -m benches.gpu.ahead --capability 90 --share 0 --of 4     # a worker: a line of JSON for each case
"""

import argparse
import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import torch

from benches.gpu.cases import Case
from benches.gpu.sections import SECTIONS
from benches.gpu.tool import Program
from draw_poly.kernels.support import interpreted

# Of the cores, so many are left to what goes on meanwhile.
LEFT = 2
# A case of this section, whose name and the case's name are joined so.
JOINT = ": "


def cases(small: bool) -> dict[str, Case]:
    """All cases of all sections, in the order in which they are wanted."""
    found: dict[str, Case] = {}
    for section in SECTIONS:
        with suppress(Exception):  # the section itself will say that its file cannot be imported
            module = importlib.import_module(f"benches.gpu.{section.file}")
            if hasattr(module, "cases"):
                made = module.cases(small).items()
                found |= {section.name + JOINT + name: case for name, case in made if case.ours}
    return found


class Ahead:
    """The workers, and what they have done; none where kernels are interpreted."""

    def __init__(self, device: torch.device, sections: Sequence[str], workers: int | None = None) -> None:
        self._sections = sections
        self._workers: list[Program] = []
        self.names: set[str] = set()
        if device.type != "cuda" or interpreted():
            return
        major, minor = torch.cuda.get_device_capability(device)
        count = workers or max(1, (os.cpu_count() or 1) - LEFT)
        self.names = {name for name in cases(False) if name.partition(JOINT)[0] in sections}
        words = ["-m", "benches.gpu.ahead", "--capability", str(10 * major + minor), "--of", str(count)]
        words += ["--sections", *sections]
        self._workers = [Program([sys.executable, *words, "--share", str(share)]) for share in range(count)]

    def done(self) -> dict[str, dict[str, Any]]:
        """What was compiled by now: seconds, or what went wrong."""
        lines = [line for worker in self._workers for line in worker.so_far().splitlines(keepends=True)]
        whole = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("\n")]
        return {one.pop("name"): one for one in whole}

    def wait(self, section: str, everything: bool, seconds: float) -> None:
        """Until a section's cases are compiled, or all are, or that is not to be expected any more."""
        ends = time.time() + seconds
        wanted = {name for name in self.names if everything or name.partition(JOINT)[0] == section}
        while time.time() < ends and any(worker.running for worker in self._workers):
            if not everything and wanted <= set(self.done()):
                return
            time.sleep(0.1)

    def summary(self) -> dict[str, Any]:
        """What it came to: how many cases, the slowest, and those that failed."""
        done = self.done()
        slowest = sorted(done.items(), key=lambda item: -item[1]["seconds"])[:5]
        return {
            "workers": len(self._workers),
            "cases": len(self.names),
            "done": len(done),
            "slowest": {name: one["seconds"] for name, one in slowest},
            "failed": {name: one["error"] for name, one in done.items() if one.get("error")},
        }

    def stop(self) -> None:
        """Ends the workers."""
        for worker in self._workers:
            worker.stop()


def compile_one(case: Case) -> None:
    """Has a case launch its kernels with nothing behind them; its numbers mean nothing."""
    case.make(torch.device("cpu"))()


def work(names: Sequence[str], found: dict[str, Case], say: Callable[[str], None]) -> None:
    """Compiles case after case, and says how each went."""
    for name in names:
        started, error = time.perf_counter(), None
        try:
            compile_one(found[name])
        except Exception as reason:  # the section that launches it will say so where it counts
            error = f"{type(reason).__name__}: {reason}"[:500]
        seconds = round(time.perf_counter() - started, 2)
        say(json.dumps({"name": name, "seconds": seconds} | ({"error": error} if error else {})))


def main(words: Sequence[str] | None = None) -> None:
    """A worker."""
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--capability", type=int, required=True)
    reader.add_argument("--share", type=int, required=True)
    reader.add_argument("--of", type=int, required=True)
    reader.add_argument("--sections", nargs="*", default=[])
    chosen = reader.parse_args(words)
    from triton.backends.compiler import GPUTarget
    from triton.runtime.driver import driver

    from benches.binaries import StandIn

    torch.set_num_threads(1)
    driver.set_active(StandIn(GPUTarget("cuda", chosen.capability, 32)))
    found = cases(False)
    names = [name for name in found if not chosen.sections or name.partition(JOINT)[0] in chosen.sections]
    work(names[chosen.share :: chosen.of], found, lambda line: print(line, flush=True))


if __name__ == "__main__":
    main()
