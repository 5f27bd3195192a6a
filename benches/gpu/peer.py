"""One peer's epochs beside ours, in a process of its own: `python -m benches.gpu.peer NAME --go FILE`.

Says a line of JSON when both are checked and warm; then waits for the file, and says their times.
"""

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from benches.compiled_module import CompiledModule
from benches.contender import Contender
from benches.contenders import ENTRIES, ORIGINAL, WrongAnswer, check
from benches.gpu import device as devices
from benches.gpu.epochs import Run, ahead, job
from benches.job import Job
from benches.method import Variant, measure, ratio

WARM, TURNS = 20, 10
WHOLE = "torch.compile, a step a graph"


class WholeStep(CompiledModule):
    """PyTorch's compiler at its best: forward, backward and the optimiser's step are one graph, a replay a batch."""

    def __init__(self, one: Job, available: int) -> None:
        super().__init__(one, available, "default")
        learners = self._optimizer.param_groups[0]["params"]
        capturable = one.device != "cpu"
        self._optimizer = torch.optim.Adam(learners, lr=one.config.learning_rate, fused=True, capturable=capturable)
        self._graphs: dict[int, tuple[torch.cuda.CUDAGraph, Tensor, Tensor]] = {}

    def _step(self, batch: Tensor) -> Tensor:
        if not batch.is_cuda:
            return super()._step(batch)
        if len(batch) not in self._graphs:
            self._graphs[len(batch)] = self._captured(batch)
        graph, points, loss = self._graphs[len(batch)]
        points.copy_(batch)
        graph.replay()
        return loss.clone()

    def _captured(self, batch: Tensor) -> tuple[torch.cuda.CUDAGraph, Tensor, Tensor]:
        """A step as a graph, the batch that it reads and the loss that it writes; the warm-up's steps are undone."""
        points, before = batch.clone(), self._numbers()
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                super()._step(points)
        torch.cuda.current_stream().wait_stream(stream)
        self._put_back(before)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            loss = super()._step(points)
        return graph, points, loss

    def _numbers(self) -> list[list[Tensor]]:
        """Copies of each parameter, then of its moments and steps, if it has any by now."""
        return [
            [one.detach().clone(), *(value.clone() for value in self._optimizer.state.get(one, {}).values())]
            for one in self._optimizer.param_groups[0]["params"]
        ]

    def _put_back(self, before: list[list[Tensor]]) -> None:
        for one, (parameter, *moments) in zip(self._optimizer.param_groups[0]["params"], before, strict=True):
            with torch.no_grad():
                one.copy_(parameter)
                for index, value in enumerate(self._optimizer.state[one].values()):
                    value.copy_(moments[index]) if moments else value.zero_()


def made(name: str, one: Job) -> Contender | str:
    """A peer, or why it cannot be had."""
    threads = torch.get_num_threads()
    if name == WHOLE:
        return ENTRIES["torch.compile"].absent(one) or WholeStep(one, threads)
    if absent := ENTRIES[name].absent(one):
        return absent
    return Run(one, threads, name) if name == "compile" else ENTRIES[name].build(one, threads)


def main(words: Sequence[str] | None = None) -> None:
    """Gets ready, waits, and tells."""
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("name")
    reader.add_argument("--go", type=Path, required=True)
    reader.add_argument("--small", action="store_true")
    chosen = reader.parse_args(words)
    started, device = time.perf_counter(), devices.find()
    one = job(chosen.small, device)
    peer = made(chosen.name, one)
    if isinstance(peer, str):
        _say(absent=peer)
        return
    try:
        error = check(peer)
    except WrongAnswer as reason:
        _say(wrong=str(reason))
        return
    ours = ahead(one)
    contenders = {"ours": ours, chosen.name: peer}
    for contender in contenders.values():
        for _ in range(2 if chosen.small else WARM):
            contender.epoch()
    devices.wait(device)
    _say(ready=round(time.perf_counter() - started, 2), loss_error=error)
    while not chosen.go.exists():
        time.sleep(0.02)
    variants = {
        name: Variant(made.epoch, made.threads, calls=1 if name == ORIGINAL else None)
        for name, made in contenders.items()
    }
    timings = measure(variants, 1 if chosen.small else TURNS)
    _say(
        microseconds={name: 1e6 * statistics.median(timing.rounds) for name, timing in timings.items()},
        times_ours=ratio(timings[chosen.name].rounds, timings["ours"].rounds),
    )


def _say(**found: object) -> None:
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
