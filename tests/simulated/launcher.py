"""Triton's own driver module and launcher over a driver without a device: what a GPU would be told of each launch.

    python -m tests.simulated.launcher --only "update adam"    # of `benches.binaries.CONFIGURATIONS`; JSON

Every argument is read back where the kernel would find it, and compared with what the program passed.
"""

import argparse
import ctypes
import json
import os
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.simulated.native import HERE, built

TARGET, NUMBER = "sm_90", 90
SIZES = {"i1": 1, "i8": 1, "i16": 2, "i32": 4, "i64": 8, "u8": 1, "u16": 2, "u32": 4, "u64": 8}
TELL = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p))


class Attribute(ctypes.Structure):
    """CUDA's `CUlaunchAttribute`."""

    _fields_ = (("id", ctypes.c_int), ("pad", ctypes.c_char * 4), ("value", ctypes.c_char * 64))


class Configuration(ctypes.Structure):
    """CUDA's `CUlaunchConfig`."""

    _fields_ = (
        ("grid", ctypes.c_uint * 3),
        ("block", ctypes.c_uint * 3),
        ("shared", ctypes.c_uint),
        ("stream", ctypes.c_void_p),
        ("attributes", ctypes.POINTER(Attribute)),
        ("count", ctypes.c_uint),
    )


def library() -> Path:
    """The driver, under the names that Triton opens and, as of 3.5, links to."""
    import triton

    include = Path(triton.__file__).parent / "backends" / "nvidia" / "include"
    made = built(HERE / "libcuda.c", "-w", f"-I{include}", "-Wl,-soname,libcuda.so.1")
    opened, linked = (made.with_name(name) for name in ("libcuda.so.1", "libcuda.so"))
    for place in (opened, linked):
        if not place.exists():
            with tempfile.TemporaryDirectory(dir=made.parent) as folder:
                link = Path(folder) / place.name
                link.symlink_to(made.name)
                os.replace(link, place)
    return opened


def flat(signature: Any, values: Any) -> Iterator[tuple[str, Any]]:
    """A kernel's arguments and their kinds, constants left out."""
    for kind, value in zip(signature, values, strict=True):
        if isinstance(kind, tuple | list):
            yield from flat(kind, value)
        elif kind != "constexpr":
            yield kind, value


def bits(kind: str, value: Any) -> bytes:
    """An argument as a kernel finds it."""
    if kind.startswith("*"):
        return struct.pack("Q", value.data_ptr())
    if kind in ("fp32", "f32"):
        return struct.pack("f", value)
    return int(value).to_bytes(SIZES[kind], "little", signed=kind.startswith("i"))


@contextmanager
def launching() -> Iterator[list[dict[str, Any]]]:
    """Within, Triton launches on that driver; what it is told of is listed."""
    place = library()
    os.environ["TRITON_LIBCUDA_PATH"] = str(place.parent)
    beneath = ctypes.CDLL(str(place), ctypes.RTLD_GLOBAL)
    import torch
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.backends.nvidia import driver as nvidia
    from triton.runtime.driver import driver

    launches: list[dict[str, Any]] = []
    passed: list[tuple[str, Any]] = []

    def note(name: bytes, address: int, parameters: Any) -> None:
        found = Configuration.from_address(address)
        wrong = [
            index
            for index, (kind, value) in enumerate(passed)
            if ctypes.string_at(parameters[index], len(bits(kind, value))) != bits(kind, value)
        ]
        launches.append(
            {
                "kernel": name.decode(), "grid": list(found.grid), "block": list(found.block), "shared": found.shared,
                "stream": found.stream, "attributes": [found.attributes[i].id for i in range(found.count)],
                "arguments": len(passed), "wrong": wrong,
            }
        )  # fmt: skip

    told = TELL(note)

    class Launcher(nvidia.CudaLauncher):  # type: ignore[misc]
        def __init__(self, source: Any, metadata: Any) -> None:
            super().__init__(source, metadata)
            self.signature = list(source.signature.values())

        def __call__(self, *words: Any) -> None:
            passed[:] = flat(self.signature, words[-len(self.signature) :])
            super().__call__(*words)

    class Driver(nvidia.CudaDriver):  # type: ignore[misc]
        def __init__(self) -> None:
            self.utils = nvidia.CudaUtils()
            self.launcher_cls = Launcher
            self.get_current_device = lambda: 0
            self.get_current_stream = lambda device: 7
            self.get_device_capability = lambda device=0: divmod(NUMBER, 10)

        def get_current_target(self) -> Any:
            return GPUTarget("cuda", NUMBER, 32)

        def get_active_torch_device(self) -> torch.device:
            return torch.device("cpu")

    before = driver._active
    with tempfile.TemporaryDirectory() as folder, triton.knobs.cache.scope():
        triton.knobs.cache.dir = folder
        driver.set_active(Driver())
        beneath.tell(told)
        try:
            yield launches
        finally:
            beneath.tell(None)
            driver._active = before


def main() -> None:
    """Launches, and prints what was launched for each configuration."""
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--only", nargs="+", help="configurations of these names")
    names = reader.parse_args().only
    from benches.binaries import configurations

    rows = {}
    with launching() as launches:
        for name, work in configurations(TARGET).items():
            if names is None or name in names:
                launches.clear()
                work()
                rows[name] = list(launches)
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
