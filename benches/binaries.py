"""What the Triton compilers make of every kernel, on a machine without a GPU: registers, spills, memory, seconds.

    python -m benches.binaries                      # every configuration for every target; a table in Markdown
    python -m benches.binaries --targets sm_90 --only task

The kernels' own launchers are called with small tensors on the CPU, while a driver of ours stands in for CUDA's or
ROCm's: it names the target, keeps each binary that Triton compiles, and launches nothing.
"""

import argparse
import json
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.runtime.driver import driver

from draw_poly.kernels import gpu
from draw_poly.kernels.gpu.gradient import input_gradient
from draw_poly.kernels.spec import (
    FINAL_ACTIVATIONS,
    KOLMOGOROV_LOSSES,
    OPTIMIZERS,
    RELU2,
    SCALARS,
    KolmogorovTerm,
    Network,
    Optimizer,
    cross_entropy,
    leaky_relu,
    squared_error,
)

TARGETS = {
    "sm_80": GPUTarget("cuda", 80, 32),
    "sm_90": GPUTarget("cuda", 90, 32),
    "sm_100": GPUTarget("cuda", 100, 32),
    "gfx942": GPUTarget("hip", "gfx942", 64),
}
# Bytes that a program may share, the least of each kind of target.
SHARED = {"cuda": 166_912, "hip": 65_536}


@dataclass(frozen=True)
class Binary:
    """A compiled kernel: registers a thread, bytes a thread spills to, bytes a program shares, seconds to compile.

    `approximate` counts the divisions that are off by more than rounding, on NVIDIA's GPUs.
    """

    kernel: str
    registers: int
    spilled: int
    shared: int
    seconds: float
    approximate: int


class StandIn:
    """A driver of no device: Triton asks it for the target, and hands it the binaries."""

    def __init__(self, target: GPUTarget, device: int = 0) -> None:
        self.target = target
        self.device = device
        self.binaries: list[tuple[str, bytes, int]] = []
        self.utils = SimpleNamespace(
            load_binary=self._load, unload_module=lambda module: None,
            get_device_properties=lambda device: {"max_shared_mem": SHARED[self.target.backend]},
        )  # fmt: skip

    def get_current_target(self) -> GPUTarget:
        """The target to compile for."""
        return self.target

    def get_current_device(self) -> int:
        """A number of its own for each target: Triton keeps compiled kernels by device."""
        return self.device

    def get_current_stream(self, device: int) -> int:
        """None."""
        return 0

    def launcher_cls(self, source: Any, metadata: Any) -> Callable[..., None]:
        """What launches: nothing."""
        return lambda *arguments, **named: None

    def _load(self, name: str, binary: bytes, shared: int, device: int) -> tuple[int, int, int, int, int]:
        self.binaries.append((name, binary, shared))
        return 1, 1, 0, 0, 1024


@contextmanager
def compiling_for(name: str) -> Iterator[StandIn]:
    """Launches within compile for a target instead; a fresh cache, so that times are those of compilation."""
    if os.environ.get("TRITON_INTERPRET") == "1":
        raise RuntimeError("TRITON_INTERPRET=1 was set: kernels are interpreted, and nothing is compiled")
    stand_in = StandIn(TARGETS[name], list(TARGETS).index(name))
    before = driver._active
    with tempfile.TemporaryDirectory() as folder, triton.knobs.cache.scope():
        triton.knobs.cache.dir = folder
        driver.set_active(stand_in)
        try:
            yield stand_in
        finally:
            driver._active = before


def compiled(name: str, work: Callable[[], None]) -> list[Binary]:
    """The kernels that a call launches, compiled for a target."""
    with compiling_for(name) as stand_in:
        started = time.perf_counter()
        work()
        seconds = time.perf_counter() - started
        assembly = {path.stem: path.read_text() for path in Path(str(triton.knobs.cache.dir)).rglob("*.ptx")}
    read = _read_cuda if stand_in.target.backend == "cuda" else _read_rocm
    share = seconds / max(len(stand_in.binaries), 1)
    return [
        Binary(kernel, *read(binary), shared, share, assembly.get(kernel, "").count("div.full"))
        for kernel, binary, shared in stand_in.binaries
    ]


def _read_cuda(binary: bytes) -> tuple[int, int]:
    """Registers and spilled bytes of a thread, by the `cuobjdump` of Triton's package."""
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(binary)
        file.flush()
        said = subprocess.run([tool, "-res-usage", file.name], capture_output=True, text=True, check=True).stdout
    usage = dict(re.findall(r"(REG|STACK|LOCAL):(\d+)", said))
    return int(usage["REG"]), int(usage["STACK"]) + int(usage["LOCAL"])


def _read_rocm(binary: bytes) -> tuple[int, int]:
    """The same from the code object's metadata, MessagePack of short names and unsigned numbers."""
    registers = _number(binary, b".vgpr_count")
    return registers, _number(binary, b".private_segment_fixed_size")


def _number(binary: bytes, name: bytes) -> int:
    at = binary.index(name) + len(name)
    first = binary[at]
    if first < 0x80:
        return first
    return int.from_bytes(binary[at + 1 : at + 1 + {0xCC: 1, 0xCD: 2, 0xCE: 4}[first]], "big")


def with_term(loss: str, shape: tuple[int, ...] = (8, 8), bins: int = 256) -> KolmogorovTerm:
    """A Kolmogorov term."""
    return KolmogorovTerm(Network((3, *shape, KolmogorovTerm.outputs(loss, bins))), loss, 0.05, bins)


def gradient(hidden: tuple[int, ...], term: KolmogorovTerm | None = None, points: int = 1024, **words: Any) -> None:
    """Launches the gradient of a network on one batch."""
    bent, loss = words.pop("activation", leaky_relu()), words.pop("loss", squared_error())
    network = Network((2, *hidden, words.pop("outputs", 1)), bent, loss)
    dependent, networks = words.pop("dependent", False), words.get("networks", 1)
    order = torch.zeros((networks, points), dtype=torch.int64) if words.pop("ordered", False) else None
    workspace = gpu.Workspace(network, term, points, torch.device("cpu"), **words)
    workspace.task = workspace.task._replace(launch=workspace.task.launch._replace(dependent=dependent))
    parameters = [torch.zeros((networks, one.size)) for one in (network, *([term.predictor] if term else []))]
    positions = torch.zeros((3, network.size)) if term else None
    inputs, targets = torch.zeros((networks, 2, points)), torch.zeros((networks, network.targets, points))
    gpu.gradient(workspace, parameters, positions, inputs, targets, order)


def operator(hidden: tuple[int, ...]) -> None:
    """Launches what the library operator's backward does."""
    network = Network((2, *hidden, 1))
    workspace = gpu.Workspace(network, None, 1024, torch.device("cpu"))
    points = torch.zeros((1, 2, 1024))
    to_outputs, to_points = torch.zeros((1, 1, 1024)), torch.empty_like(points)
    input_gradient(workspace, torch.zeros((1, network.size)), points, to_outputs, to_points)
    gpu.total(workspace, [torch.empty((1, network.size))], torch.empty((1, 1)))


def update(kind: str, term: KolmogorovTerm | None, dependent: bool = False, networks: int = 1, **options: Any) -> None:
    """Launches an update."""
    network, optimizer = Network((2, *[10] * 8, 1)), Optimizer(kind, 0.001, **options)
    workspace = gpu.Workspace(network, term, 1024, torch.device("cpu"), networks=networks)
    workspace.task = workspace.task._replace(launch=workspace.task.launch._replace(dependent=dependent))
    workspace.batch = workspace.programs = 1
    sizes = [network.size] + ([term.predictor.size] if term else [])
    moments = [torch.zeros((networks, optimizer.moments, size)) for size in sizes]
    parameters, count = [torch.zeros((networks, size)) for size in sizes], len(sizes)
    scalars, losses = torch.zeros((networks, SCALARS * count)), torch.zeros((networks, count))
    gpu.update(workspace, [optimizer] * count, parameters, moments, scalars, losses)


def validate(hidden: tuple[int, ...], points: int = 1024, networks: int = 1, **words: Any) -> None:
    """Launches a validation."""
    network = Network((2, *hidden, words.pop("outputs", 1)), **words)
    made = gpu.Validation(network, points, torch.device("cpu"), networks)
    inputs, targets = torch.zeros((networks, 2, points)), torch.zeros((networks, network.targets, points))
    made.run(torch.zeros((networks, network.size)), inputs, targets, torch.empty((networks, 3)))


def evaluate(
    hidden: tuple[int, ...], grid: bool = False, edges: bool = False, networks: int = 1, outputs: int = 1
) -> None:
    """Launches an evaluation, at points or of a grid."""
    network = Network((2, *hidden, outputs))
    parameters = torch.zeros((networks, network.size))
    coefficients = torch.zeros((networks, network.neurons), dtype=torch.int64)
    values, signatures = torch.zeros((networks, outputs, 8, 8)), torch.zeros((networks, 8, 8), dtype=torch.int64)
    if grid:
        found = torch.zeros((networks, 8, 8), dtype=torch.uint8) if edges else None
        gpu.evaluate_grid(network, parameters, coefficients, (8, 8), 0, values, signatures, found)
    else:
        points, flat = torch.zeros((networks, 2, 64)), signatures.view(networks, 64)
        gpu.evaluate(network, parameters, coefficients, points, values.view(networks, outputs, 64), flat)


SHAPES: dict[str, tuple[int, ...]] = {
    "[10]*8": (10,) * 8, "[16]*12": (16,) * 12, "[7,12,5]": (7, 12, 5), "[5]*40": (5,) * 40, "[10]*100": (10,) * 100,
    "[32]*4": (32,) * 4, "[64]*4": (64,) * 4,
}  # fmt: skip
CONFIGURATIONS: dict[str, Callable[[], None]] = {
    **{f"task {name}": lambda hidden=hidden: gradient(hidden) for name, hidden in SHAPES.items()},  # type: ignore[misc]
    "task [10]*8, ordered": lambda: gradient(SHAPES["[10]*8"], ordered=True),
    "task [10]*8, dependent": lambda: gradient(SHAPES["[10]*8"], dependent=True),
    "task [10]*8, 8 networks": lambda: gradient(SHAPES["[10]*8"], networks=8),
    "update adam, dependent": lambda: update("adam", None, dependent=True),
    "task [10]*8, 65536 points": lambda: gradient(SHAPES["[10]*8"], points=65536),
    "task [7,12,5], 3 outputs": lambda: gradient(SHAPES["[7,12,5]"], outputs=3),
    "task [10]*8, 3 outputs": lambda: gradient(SHAPES["[10]*8"], outputs=3),
    **{
        f"task [10]*8, classes by {final}": lambda final=final: gradient(  # type: ignore[misc]
            SHAPES["[10]*8"], outputs=3, loss=cross_entropy(final)
        )
        for final in FINAL_ACTIVATIONS
    },
    "task [10]*8, classes by relu + cross_entropy [8, 8], 8 networks": lambda: gradient(
        SHAPES["[10]*8"], with_term("cross_entropy"), outputs=3, loss=cross_entropy(), networks=8
    ),
    "task [10]*100, classes by sigmoid": lambda: gradient(SHAPES["[10]*100"], outputs=3, loss=cross_entropy("sigmoid")),
    "task [10]*8, relu2": lambda: gradient(SHAPES["[10]*8"], activation=RELU2),
    "validate [10]*8, 3 outputs": lambda: validate(SHAPES["[10]*8"], outputs=3),
    **{
        f"validate [10]*8, classes by {final}": lambda final=final: validate(  # type: ignore[misc]
            SHAPES["[10]*8"], outputs=3, loss=cross_entropy(final)
        )
        for final in FINAL_ACTIVATIONS
    },
    "evaluate [10]*8, 3 outputs": lambda: evaluate(SHAPES["[10]*8"], outputs=3),
    "evaluate edges [10]*8, 3 outputs": lambda: evaluate(SHAPES["[10]*8"], True, True, outputs=3),
    "task [10]*8, tf32": lambda: gradient(SHAPES["[10]*8"], precision="tf32"),
    "task [64]*4, tf32": lambda: gradient(SHAPES["[64]*4"], precision="tf32"),
    **{
        f"task [7,12,5] + {loss} [8, 8]": lambda loss=loss: gradient(SHAPES["[7,12,5]"], with_term(loss))  # type: ignore[misc]
        for loss in KOLMOGOROV_LOSSES
    },
    "task [10]*8 + cross_entropy [8, 8]": lambda: gradient(SHAPES["[10]*8"], with_term("cross_entropy")),
    "task [10]*8 + cross_entropy [8, 8], 8 networks": lambda: gradient(
        SHAPES["[10]*8"], with_term("cross_entropy"), networks=8
    ),
    "task [16]*12 + cross_entropy [8, 8]": lambda: gradient(SHAPES["[16]*12"], with_term("cross_entropy")),
    "task [64]*4 + cross_entropy [64, 64]": lambda: gradient(SHAPES["[64]*4"], with_term("cross_entropy", (64, 64))),
    "task [5]*40 + cross_entropy [8]*20": lambda: gradient(SHAPES["[5]*40"], with_term("cross_entropy", (8,) * 20)),
    "operator [10]*8": lambda: operator(SHAPES["[10]*8"]),
    "operator [5]*40": lambda: operator(SHAPES["[5]*40"]),
    **{f"update {kind}": lambda kind=kind: update(kind, None) for kind in OPTIMIZERS},  # type: ignore[misc]
    "update adam, clipped": lambda: update("adam", None, grad_clip_norm=1.0),
    "update adam, clipped, + predictor": lambda: update("adam", with_term("cross_entropy"), grad_clip_norm=1.0),
    "update adamw, amsgrad": lambda: update("adamw", None, amsgrad=True, weight_decay=0.01),
    "update muon, clipped, + predictor": lambda: update("muon", with_term("cross_entropy"), grad_clip_norm=1.0),
    "update muon, 8 networks": lambda: update("muon", None, networks=8),
    "update adam + predictor": lambda: update("adam", with_term("cross_entropy")),
    "update adam + predictor, 8 networks": lambda: update("adam", with_term("cross_entropy"), networks=8),
    **{f"validate {name}": lambda hidden=hidden: validate(hidden) for name, hidden in SHAPES.items()},  # type: ignore[misc]
    **{f"evaluate {name}": lambda hidden=hidden: evaluate(hidden) for name, hidden in SHAPES.items()},  # type: ignore[misc]
    "validate [10]*8, 8 networks": lambda: validate(SHAPES["[10]*8"], networks=8),
    "evaluate [10]*8, 8 networks": lambda: evaluate(SHAPES["[10]*8"], networks=8),
    "evaluate grid [10]*8, 8 networks": lambda: evaluate(SHAPES["[10]*8"], grid=True, networks=8),
    "evaluate grid [10]*8": lambda: evaluate(SHAPES["[10]*8"], grid=True),
    **{
        f"evaluate edges {name}": lambda hidden=hidden: evaluate(hidden, True, True)  # type: ignore[misc]
        for name, hidden in SHAPES.items()
    },
}


def configurations(target: str, only: str = "") -> dict[str, Callable[[], None]]:
    """Those that a target has, and whose names begin so."""
    dependent = target in ("sm_90", "sm_100")  # programmatic dependent launch came with Hopper
    return {
        name: work
        for name, work in CONFIGURATIONS.items()
        if name.startswith(only) and (dependent or not name.endswith("dependent"))
    }


def main() -> None:
    """Compiles, and prints a row for each kernel."""
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--targets", nargs="+", choices=TARGETS, default=list(TARGETS))
    reader.add_argument("--only", default="", help="configurations whose name begins so")
    reader.add_argument("--json", action="store_true", help="print JSON instead of a table")
    chosen = reader.parse_args()
    if chosen.json:
        rows = {
            target: {
                name: [asdict(one) for one in compiled(target, work)]
                for name, work in configurations(target, chosen.only).items()
            }
            for target in chosen.targets
        }
        print(json.dumps({"triton": triton.__version__, "binaries": rows}))
        return
    print(f"Triton {triton.__version__}: registers a thread / spilled bytes a thread / KiB shared / seconds\n")
    print("| configuration | " + " | ".join(chosen.targets) + " |")
    print("|---" * (1 + len(chosen.targets)) + "|")
    offered = {target: configurations(target, chosen.only) for target in chosen.targets}
    for name in dict.fromkeys(name for names in offered.values() for name in names):
        cells = [
            ", ".join(
                f"{one.registers} / {one.spilled} / {one.shared / 1024:.0f} / {one.seconds:.1f}"
                for one in (compiled(target, names[name]) if name in names else [])
            )
            for target, names in offered.items()
        ]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
