"""The program as its user starts it, on the device and on the CPU; and a capture while another thread waits."""

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benches.gpu import device as devices
from benches.gpu import tool
from benches.gpu.course import Bench
from benches.gpu.epochs import ahead, job
from benches.job import IMAGE
from draw_poly.engine.backends.base import log

MAIN = ["-s", "[10]*8", "-p", "5000", "-b", "1024"]
SMALL = ["-s", "[5]*2", "-p", "40", "-b", "32", "--frame-size", "16", "--no-film"]
TERM = ["--kolmogorov-shape", "[8, 8]", "--kolmogorov-weight", "0.05"]
SMALL_TERM = ["--kolmogorov-shape", "[4]", "--kolmogorov-weight", "0.05", "--kolmogorov-bins", "11"]
EPOCHS, SMALL_EPOCHS = 2000, 2


def term(bench: Bench) -> list[str]:
    """What turns the Kolmogorov term on."""
    return SMALL_TERM if bench.small else TERM


def command(bench: Bench, place: Path, words: Sequence[str]) -> list[str]:
    """The command line on the benchmarks' image, its files in a folder."""
    folders = ["-o", str(place / "results"), "--snapshot-dir", str(place / "snapshots")]
    return [
        *bench.python,
        "cli.py",
        "-i",
        str(IMAGE),
        "--seed",
        "1",
        *(SMALL if bench.small else MAIN),
        *folders,
        *words,
    ]


def work(bench: Bench) -> None:
    """Runs side by side, then the capture."""
    epochs = ["-e", str(SMALL_EPOCHS if bench.small else EPOCHS)]
    there = devices.words(bench.device)
    runs = {
        "on the device": [*epochs, *there],
        "on the CPU": [*epochs, "--device", "cpu"],
        "on the device, with the term, a frame each epoch": ["-e", "2" if bench.small else "100", *term(bench), *there],
    }
    runs["on the device, with the term, a frame each epoch"] += ["--save-interval", "1"]
    expected = {"on the CPU": "Backend: cpu on cpu"}
    with TemporaryDirectory() as folder:
        commands = {
            name: command(bench, Path(folder) / str(at), words) for at, (name, words) in enumerate(runs.items())
        }
        for name, said in tool.together(commands, bench.left - 10).items():
            backend = expected.get(name, f"Backend: triton on {bench.device}")
            bench.note(**{name: {"ending": said.ending, "seconds": round(said.seconds, 2), "log": said.tail(12)}})
            if said.status != 0:
                bench.wrong(f"the command line {name}: {said.ending}, {said.tail(2)}")
            elif backend not in said.err:
                bench.wrong(f"the command line {name} did not say '{backend}'")
    if bench.device.type == "cuda":
        _beside_a_waiting_thread(bench)


def _beside_a_waiting_thread(bench: Bench) -> None:
    """An epoch is captured as it is without the thread, and comes to the same."""
    found = []
    for waiting in (False, True):
        with _heard() as said, _waiting(bench.device, waiting) as failures:
            run = ahead(job(bench.small, bench.device))
            losses = [run.epoch() for _ in range(5)]
            devices.wait(bench.device)
        found.append((losses, run.parameters()))
        for sentence in [*said, *failures]:
            bench.wrong(f"a capture {'beside a thread that waits for events' if waiting else 'alone'}: {sentence}")
    same = found[0][0] == found[1][0] and torch.equal(found[0][1], found[1][1])
    bench.note(**{"captured beside a waiting thread": {"losses": found[1][0], "same as alone": same}})
    if not same:
        bench.wrong("epochs captured beside a thread that waits for events are others than those captured alone")


@contextmanager
def _heard() -> Iterator[list[str]]:
    """What the backend warns of meanwhile."""
    said: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    log.addHandler(handler)
    try:
        yield said
    finally:
        log.removeHandler(handler)


@contextmanager
def _waiting(device: torch.device, wanted: bool) -> Iterator[list[str]]:
    """A thread that asks for events and waits for them, as one that writes pictures does; what failed in it."""
    failures: list[str] = []
    over = threading.Event()

    def wait() -> None:
        try:
            with torch.cuda.device(device):
                stream, event = torch.cuda.Stream(device), torch.cuda.Event()
                while not over.is_set():
                    event.record(stream)
                    event.query()
                    event.synchronize()
                    time.sleep(1e-4)
        except Exception as error:
            failures.append(f"{type(error).__name__}: {error}")

    thread = threading.Thread(target=wait, daemon=True)
    if wanted:
        thread.start()
    try:
        yield failures
    finally:
        over.set()
        if wanted:
            thread.join(10)
