"""What must be the same to the bit: epochs captured or launched, run ahead or waited for; a run resumed or straight."""

import csv
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from benches.gpu import command_line, tool
from benches.gpu import device as devices
from benches.gpu.cases import USUAL, Step
from benches.gpu.command_line import command
from benches.gpu.course import Bench
from benches.gpu.epochs import JOBS, job
from benches.job import Job
from draw_poly.engine.backends.cuda_graph import Buffers, Window
from draw_poly.engine.backends.triton import Triton
from draw_poly.engine.training.trainer import Launched, Trainer
from draw_poly.kernels.spec import Network
from draw_poly.kernels.support import interpreted

# Epochs of a comparison; of a run on the command line, and after which of them it is resumed.
EPOCHS, SMALL_EPOCHS, STRAIGHT, RESUMED = 12, 4, 60, 30
# Steps of a graph, and its replays.
STEPS, REPLAYS = 50, 20


class Stepwise(Triton):
    """The kernels without graphs."""

    def _capture(self, buffers: Buffers, window: Window) -> None:
        pass


def work(bench: Bench) -> None:
    """All comparisons."""
    dependent(bench)
    for name, bins in JOBS.items():
        one = job(bench.small, bench.device, bins)
        count = SMALL_EPOCHS if bench.small else EPOCHS
        captured = epochs(one, Triton, count, ahead=True)
        for other, found in {
            "launched one by one": epochs(one, Stepwise, count, ahead=False),
            "captured, each waited for": epochs(one, Triton, count, ahead=False),
        }.items():
            same = equal(captured, found)
            bench.note(**{f"{name}, {other}": "the same" if same else "differ"})
            if not same:
                bench.wrong(f"epochs {name} that are captured and run ahead differ from those {other}")
    resumed(bench)


def epochs(one: Job, kind: type[Triton], count: int, ahead: bool) -> list[Tensor]:
    """Each epoch's numbers, then the parameters and moments after the last."""
    state = one.state().to(torch.device(one.device))
    trainer = Trainer(kind(state, one.config), one.training, one.validation, one.batch)
    with torch.inference_mode():
        numbers: list[list[float]] = []
        before: Launched | None = None
        for _ in range(count):
            launched = trainer.launch(lambda: False)
            before, last = (launched, before) if ahead else (None, launched)
            if last:
                numbers.append(_numbers(last))
        if before:
            numbers.append(_numbers(before))
    rows = [torch.tensor(row, dtype=torch.float64) for row in numbers]
    return [*rows, *(part.cpu() for one in state.learners for part in (one.parameters, one.moments))]


def dependent(bench: Bench) -> None:
    """Steps of a graph whose launches begin while the ones before end, and others."""
    if bench.device.type != "cuda" or interpreted():
        bench.note(**{"dependent launches": "not to be had here"})
        return
    for term in (None, USUAL.term):
        found = []
        for begins_early in (False, True):
            made = Step(Network((2, *USUAL.hidden, 1)), USUAL.points, term, bench.device, dependent=begins_early)
            made.both()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                for _ in range(STEPS):
                    made.both()
            for _ in range(REPLAYS):
                graph.replay()
            found.append([one.cpu() for one in (*made.parameters, *made.moments, made.losses)])
        same, name = equal(*found), "with the term" if term else "main"
        bench.note(**{f"dependent launches, {name}": "the same" if same else "differ"})
        if not same:
            bench.wrong(f"{STEPS * REPLAYS} steps {name} come to something else where launches are dependent")


def _numbers(launched: Launched) -> list[float]:
    epoch = launched.read()[-1]
    return [epoch.task, epoch.kolmogorov, epoch.validation]


def equal(one: list[Tensor], other: list[Tensor]) -> bool:
    """To the bit."""
    return len(one) == len(other) and all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def resumed(bench: Bench) -> None:
    """A run resumed on its way ends with the weights, and the rows, of the run that went straight on."""
    straight, middle = (2, 1) if bench.small else (STRAIGHT, RESUMED)
    words = [
        "-e",
        str(straight),
        "--save-interval",
        str(10 * straight),
        *command_line.term(bench),
        *devices.words(bench.device),
    ]
    with TemporaryDirectory() as folder:
        first, second = Path(folder) / "straight", Path(folder) / "resumed"
        _ran(bench, first, [*words, "--checkpoint-interval", str(middle)])
        (checkpoint,) = (first / "results").glob(f"*_epoch_{middle - 1:06d}.pt")
        _ran(bench, second, [*words, "--resume", str(checkpoint)])
        one, other = left(first, middle), left(second, middle)
    bench.note(resumed="the same" if one == other else "differ")
    if one != other:
        bench.wrong(f"a run resumed at epoch {middle} does not end at epoch {straight} as one that went straight on")


def _ran(bench: Bench, place: Path, words: list[str]) -> None:
    (said,) = tool.together({"": command(bench, place, words)}, bench.left - 5).values()
    if said.status != 0:
        raise RuntimeError(f"the command line: {said.ending}, {said.tail(2)}")


def left(place: Path, epoch: int) -> tuple[str, list[dict[str, str]]]:
    """A run's weights, and its losses after an epoch."""
    (weights,) = (place / "results").glob("weights_*.txt")
    (metrics,) = place.rglob("metrics.csv")
    with metrics.open(newline="") as file:
        rows = [{name: cell for name, cell in row.items() if name != "seconds"} for row in csv.DictReader(file)]
    return weights.read_text(), [row for row in rows if int(row["epoch"]) > epoch]
