"""One network in the shares of several processes, which threads stand for: the numbers of one, and a GPU for each."""

import threading
from contextlib import suppress
from functools import partial

import pytest
import torch
from torch import Tensor

from draw_poly.engine.backends import select as backend
from draw_poly.engine.backends.base import Backend, Data, Interrupted
from draw_poly.engine.backends.data_parallel import Parallel
from draw_poly.engine.config import Config, ConfigError
from draw_poly.engine.processes import Group, joined
from draw_poly.engine.training.fresh import fresh_state
from tests.conftest import INTERPRETED
from tests.epochs import epoch_of


class Round:
    """What threads that stand for processes bring to a sum. One computes at a time: Triton's interpreter needs it."""

    def __init__(self, size: int) -> None:
        self.vectors: list[Tensor] = [torch.empty(0)] * size
        self.barrier = threading.Barrier(size, timeout=120)
        self.turn = threading.Lock()

    def all_reduce(self, rank: int, vector: Tensor) -> None:
        self.vectors[rank] = vector.clone()
        self.turn.release()
        self.barrier.wait()
        vector.copy_(torch.stack(self.vectors).sum(0))
        self.barrier.wait()
        self.turn.acquire()


class Thread(Group):
    """A member of a group of threads."""

    def __init__(self, rank: int, shared: Round) -> None:
        super().__init__(rank, len(shared.vectors))
        object.__setattr__(self, "all_reduce", partial(shared.all_reduce, rank))


def made(name: str, with_term: bool) -> Backend:
    words = {"kolmogorov_shape": "[6]", "kolmogorov_weight": 0.7, "kolmogorov_bins": 30} if with_term else {}
    config = Config("x", "[7, 3]", 1, batch_size=8, learning_rate=0.01, backend=name, **words)  # type: ignore[arg-type]
    state = fresh_state(config, torch.Generator().manual_seed(2))
    return backend.choose(config, torch.device("cpu"))[0](state, config)


def in_threads(members: list[Backend], data: Data, order: Tensor, stops: list[int | None]) -> list[Tensor | None]:
    """The report of one epoch of each; None where it was interrupted, as those with a number are before that step."""
    shared = Round(len(members))
    reports: list[Tensor | None] = [None] * len(members)

    def train(rank: int) -> None:
        looks = iter(range(100))
        with shared.turn, torch.inference_mode(), suppress(Interrupted):
            together = Parallel(members[rank], Thread(rank, shared))
            reports[rank] = torch.tensor(epoch_of(together, data, order, lambda: next(looks) == stops[rank]))

    threads = [threading.Thread(target=train, args=(rank,)) for rank in range(len(members))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return reports


def numbers_of(member: Backend) -> list[Tensor]:
    return [tensor for one in member.state.learners for tensor in (one.parameters, one.moments)]


# Batches of 8 that neither 3 nor 5 divides; the last one has 1 point, so all but one process have none of it.
@pytest.mark.parametrize(
    ("name", "size", "with_term"),
    [
        *((name, size, with_term) for name in ("cpu", "eager") for size in (2, 3, 5) for with_term in (False, True)),
        pytest.param("triton", 3, False, marks=(INTERPRETED, pytest.mark.slow)),
        pytest.param("triton", 3, True, marks=INTERPRETED),
        pytest.param("compile", 2, True, marks=pytest.mark.slow),
    ],
)
def test_shares_add_up_to_the_step_of_one(name: str, size: int, with_term: bool) -> None:
    generator = torch.Generator().manual_seed(1)
    data = Data(torch.rand((1, 3, 25), generator=generator), torch.rand((1, 3, 21), generator=generator), 8)
    order = torch.randperm(25, generator=generator)[None]
    alone, members = made(name, with_term), [made(name, with_term) for _ in range(size)]
    with torch.inference_mode():
        expected = torch.tensor(epoch_of(alone, data, order))
    reports = in_threads(members, data, order, [None] * size)
    for member, report in zip(members, reports, strict=True):
        assert report is not None
        torch.testing.assert_close(report, expected, rtol=2e-5, atol=1e-6)
        assert [one.steps for one in member.state.learners] == [4] * (1 + with_term)
        for ours, theirs, first in zip(*map(numbers_of, (member, alone, members[0])), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=2e-4, atol=2e-6)
            assert torch.equal(ours, first)


def test_all_stop_before_the_same_step_whoever_is_asked_to() -> None:
    generator = torch.Generator().manual_seed(1)
    data = Data(torch.rand((1, 3, 25), generator=generator), torch.rand((1, 3, 21), generator=generator), 8)
    members = [made("eager", False) for _ in range(3)]
    assert in_threads(members, data, torch.arange(25)[None], [None, 2, 3]) == [None] * 3
    assert [member.state.main.steps for member in members] == [2] * 3


def test_a_group_that_cannot_be_joined_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    for name in ("LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match="WORLD_SIZE was 2, without LOCAL_RANK, MASTER_ADDR, MASTER_PORT"), joined():
        pass


@pytest.mark.parametrize(
    ("name", "group", "device"),
    [
        ("auto", Group(), "cuda:0"),
        ("cuda", Group(), "cuda:0"),
        ("auto", Group(3, 4, 1), "cuda:1"),
        ("cuda", Group(3, 4, 1), "cuda:1"),
        ("cuda:1", Group(), "cuda:1"),
        ("cpu", Group(3, 4, 1), "cpu"),
    ],
)
def test_each_process_takes_a_gpu_of_its_own(
    monkeypatch: pytest.MonkeyPatch, name: str, group: Group, device: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert backend.find_device(name, group) == torch.device(device)


@pytest.mark.parametrize(
    ("name", "group", "said"),
    [
        ("auto", Group(2, 4, 2), "process 3 of this machine would need a GPU of its own, and there are 2"),
        ("cuda:1", Group(1, 2, 1), "'cuda:1', but there are 2 processes"),
        ("cuda:2", Group(), "'cuda:2', but this machine has 2"),
    ],
)
def test_a_gpu_that_is_not_there_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, group: Group, said: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ConfigError, match=said):
        backend.find_device(name, group)
