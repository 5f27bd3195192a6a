"""The same epochs by others, each in a process of its own and in turns with ours there.

All but the slowest to compile make themselves ready side by side; then each is timed, alone on the device.
"""

import json
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benches.gpu.course import Bench
from benches.gpu.tool import Program

# JAX would take three quarters of the device's memory.
ENVIRONMENT = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
PEERS = ("original's way", "JAX", "torch.compile", "torch.compile, a step a graph", "compile")
SLOWEST = "torch.compile, max-autotune"
REHEARSED = ("original's way", "JAX")
# Seconds that a peer's turns take at most; those that are kept for them while all get ready.
TURNS = 20.0


def work(bench: Bench) -> None:
    """Those side by side, then the slowest with the time that is left."""
    names = REHEARSED if bench.small else PEERS
    with TemporaryDirectory() as folder:
        _together(bench, names, Path(folder), bench.left * (0.5 if bench.small else 0.4))
        if not bench.small and bench.left > 2 * TURNS:
            _together(bench, (SLOWEST,), Path(folder), bench.left - TURNS)


def _together(bench: Bench, names: tuple[str, ...], folder: Path, seconds: float) -> None:
    small = ["--small"] * bench.small
    started = {
        name: Program(
            [*bench.python, "-m", "benches.gpu.peer", name, "--go", str(_go(folder, name)), *small], ENVIRONMENT
        )
        for name in names
    }
    try:
        ends = time.time() + seconds
        while time.time() < ends and any(one.running and not lines(one.so_far()) for one in started.values()):
            time.sleep(0.1)
        late = {name for name, one in started.items() if one.running and not lines(one.so_far())}
        for name in late:
            started[name].stop()
        for name, one in started.items():
            _go(folder, name).touch()
            said = one.finish(min(TURNS, bench.left - 5) if not bench.small else bench.left - 5)
            found = lines(said.out)
            entry = {key: value for part in found for key, value in part.items()}
            if not {"absent", "wrong", "microseconds"} & set(entry):
                ending = f"not ready after {seconds:.0f} s" if name in late else said.ending
                entry |= {"failed": f"{ending}, {said.tail(2)}", "log": said.tail(40)}
            bench.note(**{name: entry})
            if "wrong" in entry:
                bench.wrong(f"{name}: {entry['wrong']}")
    finally:
        for one in started.values():
            one.stop()


def _go(folder: Path, name: str) -> Path:
    """The file that tells a peer to begin."""
    return folder / name.replace(" ", "_")


def lines(text: str) -> list[dict[str, Any]]:
    """What a peer said by now: that it is ready or absent, then its times."""
    whole = [line for line in text.splitlines(keepends=True) if line.startswith('{"') and line.endswith("\n")]
    return [json.loads(line) for line in whole]
