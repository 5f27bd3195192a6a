"""An epoch on a GPU, host and all: the engine's, by Triton and by its compiled steps, against two others.

These are the original's way and torch.compile at its best.

Called by `benches.gpu`. The reference is the same module on the same device in the same run, `[10]*8`, 5000 points,
batch 1024. An epoch's time is the host's, with the device's work waited for; the device's own share of it comes from
events around the replays alone.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from benches.baseline import Module
from engine import network
from engine.backends.compile import CompileOnGpu
from engine.backends.graphed import Graphed
from engine.backends.triton import Triton
from engine.config import Config
from engine.state import Learner, Snapshot, State
from engine.trainer import Launched, Trainer
from engine.watch import Watch

Work = Callable[[], object]
POINTS, BATCH = 5000, 1024


class Job:
    """The same draws for every contender."""

    def __init__(self, device: torch.device, small: bool) -> None:
        points, batch = (70, 32) if small else (POINTS, BATCH)
        self.config = Config("x", "[5]*2" if small else "[10]*8", 1, points=points, batch_size=batch)
        self.device = device
        draws = torch.Generator().manual_seed(1)
        places = torch.rand((2, points + batch), generator=draws)
        values = (0.5 + 0.5 * torch.sin(9 * places[:1]) * torch.cos(7 * places[1:])).float()
        self.training = places[:, :points], values[:, :points]
        self.validation = places[:, points:], values[:, points:]

    def state(self) -> State:
        """Fresh networks on the device."""
        draws = torch.Generator().manual_seed(1)
        parameters, coefficients = network.initialise_with_coefficients(self.config.network, draws)
        main = Learner.fresh(self.config.network, self.config.optimizers[0], parameters)
        return State(main, None, coefficients, draws).to(self.device)

    def module(self) -> Module:
        """The same as a module."""
        state = self.state()
        views = network.named_views(
            state.main.parameters, state.main.network, network.network_names(state.main.network)
        )
        coefficients = list(state.coefficients.split(state.main.network.dims[1:-1]))
        return Module(state.main.network, views, coefficients).to(self.device)


class Ours:
    """The engine's epoch: trainer, backend, snapshot, watch."""

    def __init__(self, job: Job, kind: type[Graphed] = Triton) -> None:
        self.state = job.state()
        self.backend = kind(self.state, job.config)
        self.trainer = Trainer(self.backend, job.training, job.validation, job.config.batch_size)
        self.watch = Watch()
        self.snapshot = Snapshot(self.state)
        self.ahead: Launched | None = None

    def epoch(self) -> float:
        """One, with what a run does between two, while the next is on its way; returns the validation error."""
        with torch.inference_mode():
            launched = self.ahead or self.trainer.launch(lambda: False)
            self.snapshot.take()
            self.ahead = self.trainer.launch(lambda: False) if self.trainer.runs_ahead else None
            epoch = launched.read()
            self.snapshot.keep()
            self.watch.epoch(epoch.combined, epoch.constant, [self.snapshot.state().main.parameters])
        return epoch.validation


class Original:
    """A loader that collates point by point, signatures while training, every loss brought to the host."""

    def __init__(self, job: Job) -> None:
        self.module, self.device, self.batch = job.module(), job.device, job.config.batch_size
        self.data = TensorDataset(*(part.t().contiguous() for part in job.training))
        self.validation = [part.t().contiguous().to(self.device) for part in job.validation]
        self.optimizer = torch.optim.Adam(self.module.parameters(), lr=job.config.learning_rate)

    def epoch(self) -> float:
        """One; returns the validation error."""
        for inputs, targets in DataLoader(self.data, batch_size=self.batch, shuffle=True):
            self.optimizer.zero_grad()
            outputs, _ = self.module(inputs.to(self.device))
            loss = nn.functional.mse_loss(outputs, targets.to(self.device))
            loss.backward()
            self.optimizer.step()
            loss.item()
            loss.item()
        error = 0.0
        for _ in range(2):
            with torch.no_grad():
                error = nn.functional.mse_loss(self.module(self.validation[0])[0], self.validation[1]).item()
        return error


class Compiled:
    """torch.compile at its best: max-autotune, CUDA graphs, a fused optimiser, points on the device, one look an epoch.

    `whole` captures forward, backward and the optimiser's step as one graph of ours instead of the compiler's two.
    """

    def __init__(self, job: Job, whole: bool) -> None:
        self.module, self.batch = job.module(), job.config.batch_size
        layers = self.module.network
        points = torch.cat(job.training).t().contiguous().to(job.device)
        self.points, self.validation = points, [part.t().contiguous().to(job.device) for part in job.validation]
        cuda = job.device.type == "cuda"
        self.optimizer = torch.optim.Adam(
            self.module.parameters(), lr=job.config.learning_rate, fused=True, capturable=cuda and whole
        )
        mode = ("max-autotune-no-cudagraphs" if whole else "max-autotune") if cuda else "default"
        self.loss = torch.compile(lambda x, y: nn.functional.mse_loss(layers(x), y), mode=mode, dynamic=False)
        self.graphs: dict[int, tuple[torch.cuda.CUDAGraph, Tensor]] = {}
        self.whole = whole and cuda

    def epoch(self) -> float:
        """One; returns the validation error."""
        order = torch.randperm(len(self.points)).to(self.points.device)
        for batch in self.points[order].split(self.batch):
            if self.whole:
                self._replay(batch)
            else:
                self._step(batch)
        with torch.no_grad():
            return float(self.loss(self.validation[0], self.validation[1]))

    def _step(self, batch: Tensor) -> None:
        self.optimizer.zero_grad(set_to_none=not self.whole)
        self.loss(batch[:, :2], batch[:, 2:]).backward()
        self.optimizer.step()

    def _replay(self, batch: Tensor) -> None:
        if len(batch) not in self.graphs:
            static = batch.clone()
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(3):
                    self._step(static)
            torch.cuda.current_stream().wait_stream(stream)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                self._step(static)
            self.graphs[len(batch)] = graph, static
        graph, static = self.graphs[len(batch)]
        static.copy_(batch)
        graph.replay()


def epochs(device: torch.device, small: bool, turns: int) -> dict[str, Any]:
    """Microseconds an epoch of every contender, turns interleaved; each must first learn as the original's way does."""
    job = Job(device, small)
    makers: dict[str, Callable[[], Ours | Original | Compiled]] = {
        "original's way": lambda: Original(job),
        "ours": lambda: Ours(job),
        "ours, compile": lambda: Ours(job, CompileOnGpu),
        "torch.compile": lambda: Compiled(job, False),
        "torch.compile, whole step a graph": lambda: Compiled(job, True),
    }
    contenders: dict[str, Work] = {}
    result: dict[str, Any] = {"ready seconds": {}, "validation": {}, "failed": {}}
    for name, make in makers.items():
        started = time.perf_counter()
        try:
            contender = make()
            errors = [contender.epoch() for _ in range(3 if small else 30)]
        except Exception as error:  # a peer that cannot run here is told, not missed in silence
            if name == "ours":
                raise
            result["failed"][name] = f"{type(error).__name__}: {error}".partition("\n")[0]
            continue
        result["ready seconds"][name], result["validation"][name] = time.perf_counter() - started, errors[-1]
        contenders[name] = contender.epoch
    expected = result["validation"]["original's way"]
    for name, found in result["validation"].items():
        if not 0.5 * expected < found < 2 * expected:  # other orders of points, so not the same loss
            raise RuntimeError(f"{name} reached {found}, the original's way {expected}: no figure for a wrong answer")
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(turns):
        for name, epoch in contenders.items():
            count = 1 if name == "original's way" else 20
            _wait(device)
            started = time.perf_counter()
            for _ in range(count):
                epoch()
            _wait(device)
            times[name].append(1e6 * (time.perf_counter() - started) / count)
    result["microseconds"] = {name: statistics.median(values) for name, values in times.items()}
    ours = result["microseconds"]["ours"]
    result["times as fast"] = {name: value / ours for name, value in result["microseconds"].items()}
    result["device busy"] = _busy(device, Ours(job), ours)
    return result


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _busy(device: torch.device, ours: Ours, epoch: float) -> float | None:
    """The share of an epoch in which the device works: events around replays alone, over the host's time."""
    if device.type != "cuda":
        return None
    for _ in range(3):
        ours.epoch()
    (replay,) = ours.backend._replays.values()
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(50):
        replay()
    end.record()
    end.synchronize()
    return 1e3 * float(start.elapsed_time(end)) / 50 / epoch
