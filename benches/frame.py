"""Frames of the main job against the original's way of working, interleaved in one run.

    python -m benches.frame                          # a minute or two; tables on standard output
    python -m benches.frame --json frame.json        # the figures too
    python -m benches.frame --backend compile

First an epoch with a 1024 x 1024 frame, as PNG, as JPEG, as film alone: what a run does, training on while threads
encode. Then the evaluation alone at sides from 512 to 8192, all pixels against only those near boundaries, with the
exponent of its growth. The network has been trained for 2000 epochs, when its boundaries are many.
"""

import argparse
import json
import math
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benches.epoch import BACKENDS, THREADS, Job, as_run, interleave, machine
from engine.backends.base import Backend
from engine.caption import LossCurves, caption
from engine.config import Config
from engine.drawing import Drawer
from engine.encoder import FrameWriter
from engine.film import Film
from engine.frame import Panels, film_canvas
from engine.state import State

TRAINED = 2000
# Frames a turn: enough to fill the queues, so that a turn is the pace at which frames leave.
BATCH = 24
VARIANTS = {"png": ("png", False), "jpg": ("jpg", False), "film alone": ("none", True), "png and film": ("png", True)}
WANTED = {"png": 10, "jpg": 20, "film alone": 20}
SIDES = (512, 1024, 2048, 4096, 8192)
# Larger pictures take too long pixel by pixel.
LARGEST_WHOLE = 4096


class TrainedJob(Job):
    """The main job, from parameters that have learnt."""

    def __init__(self, backend: str) -> None:
        super().__init__(None)
        self.trained: State | None = None
        made, trainer = self.ours(backend)
        as_run(self, lambda: [trainer.epoch() for _ in range(TRAINED)])()
        self.trained = made.state

    def state(self) -> State:
        """A state of its own with these parameters."""
        state = super().state()
        if self.trained:
            state.main.parameters.copy_(self.trained.main.parameters)
        return state


def frames(job: TrainedJob, name: str, turns: int) -> dict[str, list[float]]:
    """Seconds of an epoch with a frame."""
    width, height = job.picture.width, job.picture.height
    config = Config(job.config.input, job.config.shape, TRAINED + BATCH * (turns + 1), seed=1)
    baseline = job.baseline()
    shared = Panels.of(job.picture, job.split, (width, height))
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)

        def original() -> None:
            baseline.epoch()
            baseline.frame(job.picture.pixels, place / "original.png")

        variants: dict[str, Callable[[], object]] = {"original": original}
        writers = []
        for title, (format, filmed) in VARIANTS.items():
            made, trainer = job.ours(name)
            drawer, curves = Drawer(made, width, height, config.chunk_size), LossCurves(width, config)
            film = Film(place / f"{title}.mp4", *film_canvas(width, height)) if filmed else None
            writers.append(FrameWriter(shared, format, config.jpeg_quality, film))

            def work(  # type: ignore[no-untyped-def]
                made=made, trainer=trainer, drawer=drawer, curves=curves, writer=writers[-1], title=title
            ) -> None:
                for index in range(BATCH):
                    epoch = trainer.epoch()
                    number = TRAINED + made.state.epoch
                    curves.add(number, epoch.combined, epoch.validation)
                    text = caption(config, number, (epoch.combined, epoch.validation), curves)
                    writer.put(drawer.draw(), text, place / f"{title} {index}.file")
                writer.drain()

            variants[title] = as_run(job, work)
        interleave(variants, 1)
        times = interleave(variants, turns)
        for writer in writers:
            writer.close()
    return {
        title: [value / (1 if title == "original" else BATCH) for value in values] for title, values in times.items()
    }


def evaluations(job: TrainedJob, name: str, turns: int) -> list[dict[str, Any]]:
    """Seconds and points of a drawing, every pixel against only those near boundaries, at every side."""
    rows = []
    made, _ = job.ours(name)
    for side in SIDES:
        few = Drawer(made, side, side, job.config.chunk_size)
        variants: dict[str, Callable[[], object]] = {"near boundaries": as_run(job, few.draw)}
        if side <= LARGEST_WHOLE:
            variants["every pixel"] = as_run(job, every_pixel(made, side, job.config.chunk_size).draw)
        interleave(variants, 1)
        times = interleave(variants, turns)
        with torch.inference_mode():
            drawing = few.draw()
        rows.append({"side": side, "times": times, "evaluations": drawing.evaluations, "polytopes": drawing.polytopes})
    return rows


def every_pixel(made: Backend, side: int, chunk_size: int) -> Drawer:
    """A drawer that evaluates every pixel, with the same backend."""
    tile, made.tile = made.tile, 1
    drawer = Drawer(made, side, side, chunk_size)
    made.tile = tile
    return drawer


def growth(rows: list[dict[str, Any]], values: list[float]) -> float:
    """The exponent of the side with which values grow: the slope of a line through their logarithms."""
    x, y = [math.log(row["side"]) for row in rows], [math.log(value) for value in values]
    return statistics.linear_regression(x, y).slope


def main() -> None:
    """Measures, prints tables, and writes JSON if asked to."""
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--backend", default="eager", choices=BACKENDS, help="whose evaluation (default eager)")
    reader.add_argument("--turns", type=int, default=5, help="measured turns of each variant (default 5)")
    reader.add_argument("--json", type=Path, help="write the figures here")
    chosen = reader.parse_args()
    print(f"{machine()}, {THREADS} threads, torch {torch.__version__}, backend {chosen.backend}")
    job = TrainedJob(chosen.backend)
    times = frames(job, chosen.backend, chosen.turns)
    print(f"\n{'epoch with a frame':20} {'median ms':>10} {'min':>8} {'max':>8} {'faster':>8} {'wanted':>7}")
    for title, values in times.items():
        ratio = statistics.median(a / b for a, b in zip(times["original"], values, strict=True))
        milliseconds = [1e3 * value for value in values]
        print(
            f"{title:20} {statistics.median(milliseconds):10.2f} {min(milliseconds):8.2f} {max(milliseconds):8.2f} "
            f"{ratio:7.1f}x {WANTED.get(title, ''):>7}"
        )
    rows = evaluations(job, chosen.backend, chosen.turns)
    print(f"\n{'side':>6} {'evaluations':>12} {'of pixels':>10} {'ms':>9} {'every pixel ms':>15} {'faster':>8}")
    for row in rows:
        few = statistics.median(row["times"]["near boundaries"])
        whole = row["times"].get("every pixel")
        shown, faster = "", ""
        if whole:
            shown, faster = f"{1e3 * statistics.median(whole):.1f}", f"{statistics.median(whole) / few:.1f}x"
        share = f"{row['evaluations'] / row['side'] ** 2:.1%}"
        print(f"{row['side']:6} {row['evaluations']:12} {share:>10} {1e3 * few:9.1f} {shown:>15} {faster:>8}")
    exponents = {
        "evaluations": growth(rows, [row["evaluations"] for row in rows]),
        "seconds": growth(rows, [statistics.median(row["times"]["near boundaries"]) for row in rows]),
    }
    print("grow with the side to the power of", ", ".join(f"{value:.2f} ({name})" for name, value in exponents.items()))
    if chosen.json:
        content = {"machine": machine(), "threads": THREADS, "torch": torch.__version__, "backend": chosen.backend}
        content |= {"frames": times, "evaluations": rows, "exponents": exponents}
        chosen.json.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
