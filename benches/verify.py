"""Kernels and backends against float64, on this machine's device: a report that a kernel engineer can read.

    python -m benches.verify                        # whatever runs here; torch.compile takes a minute of it
    TRITON_INTERPRET=1 python -m benches.verify     # Triton's too, interpreted
    python -m benches.verify --fuzz 1               # cases at random, from seed 1 on, of the same kernels

For each output of each shape: the error's norm over the truth's norm, the same of PyTorch's own functions in float32,
and whether the kernel's is within what it may be. Outputs and scratch are poisoned with NaN beforehand, so that an
unwritten one shows. Inputs are drawn afresh from a fixed seed.
"""

import argparse
import importlib
import sys
from collections.abc import Iterator

import torch

from benches import fuzz, verify_backends, verify_kernels
from benches.alone import Alone
from benches.verify_kernels import Row
from draw_poly.engine.backends.select import find_device
from draw_poly.kernels import reference
from draw_poly.kernels.spec import Network
from draw_poly.kernels.support import unsupported_on_cpu, unsupported_on_gpu


def packages(device: torch.device) -> list[str]:
    """The packages of kernels that run on this device."""
    small = Network((2, 10, 1))
    limits = {"cpu": unsupported_on_cpu(small, None, device), "gpu": unsupported_on_gpu(small, None, device)}
    return [name for name, limit in limits.items() if limit is None]


def everything(device: torch.device) -> Iterator[tuple[str, Row]]:
    """Every package of kernels and every backend that runs on this device, with its rows."""
    for name in packages(device):
        package = Alone(importlib.import_module(f"draw_poly.kernels.{name}"))
        small = name == "gpu" and device.type == "cpu"  # interpreted
        yield from ((f"draw_poly.kernels.{name}", row) for row in verify_kernels.rows(package, device, small=small))
    for name in verify_backends.NAMES:
        yield from ((name, row) for row in verify_backends.rows(name, device))


def main() -> int:
    """Prints a table; exit status 1 where an output is wrong."""
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--failures", action="store_true", help="print only what is wrong")
    reader.add_argument("--fuzz", type=int, metavar="SEED", help="draw cases at random, the first from this seed")
    reader.add_argument("--cases", type=int, default=100, help="how many to draw")
    chosen = reader.parse_args()
    if chosen.fuzz is not None:
        return fuzzed(chosen.fuzz, chosen.cases)
    device = find_device("auto")
    print(f"| of | kernel | case | output | error | PyTorch's in float32 | allowed | |\n{'|---' * 8}|")
    wrong = 0
    for name, row in everything(device):
        wrong += not row.passed
        if not (row.passed and chosen.failures):
            verdict = "" if row.passed else "WRONG"
            figures = f"{row.error:.1e} | {row.plain:.1e} | {row.allowed:.1e}"
            print(f"| {name} | {row.kernel} | {row.case} | {row.output} | {figures} | {verdict} |", flush=True)
    print(f"\n{wrong} wrong" if wrong else "\nall within what they may be")
    return int(wrong > 0)


def fuzzed(seed: int, cases: int) -> int:
    """Prints what is wrong of cases at random, on the host's memory; exit status 1 where anything is."""
    kernels = [importlib.import_module(f"draw_poly.kernels.{name}") for name in packages(torch.device("cpu"))]
    wrong = 0
    for number, fault in fuzz.run([reference, *kernels], seed, cases):
        wrong += 1
        print(f"{fault}\n    python -m benches.verify --fuzz {number} --cases 1", flush=True)
    print(f"{wrong or 'nothing'} wrong in {cases} cases")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
