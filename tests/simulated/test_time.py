"""Time: what is asked of a stream is done when something waits for it, in the order that was asked for."""

import pytest
import torch

from tests.simulated import Machine
from tests.simulated.conftest import Expecting
from tests.simulated.programs import CUDA


def test_a_pinned_buffer_written_again_too_early_is_what_arrives(cuda: Machine) -> None:
    buffer = torch.ones(4, pin_memory=True)
    there = torch.empty(4, device=CUDA)
    there.copy_(buffer, non_blocking=True)
    event = torch.cuda.Event()
    event.record()
    buffer.fill_(2)
    assert there.tolist() == [2, 2, 2, 2]
    there.copy_(buffer, non_blocking=True)
    event.record()
    event.synchronize()
    buffer.fill_(3)
    assert there.tolist() == [2, 2, 2, 2]


def test_a_pageable_buffer_is_read_before_the_copy_returns(expecting: Expecting) -> None:
    buffer, there = torch.ones(4), torch.empty(4, device=CUDA)
    there.copy_(buffer, non_blocking=True)
    buffer.fill_(2)
    assert there.tolist() == [1, 1, 1, 1]


def test_a_result_read_before_its_event_is_none(cuda: Machine) -> None:
    result = torch.zeros(3, pin_memory=True)
    result.copy_(torch.ones(3, device=CUDA), non_blocking=True)
    event = torch.cuda.Event()
    event.record()
    assert result.isnan().all()
    event.synchronize()
    assert result.tolist() == [1, 1, 1]


def test_what_waits_for_nothing_sees_nothing(cuda: Machine) -> None:
    memory = torch.zeros(3, device=CUDA)
    torch.cuda.synchronize()
    memory += 1
    assert memory.host.tolist() == [0, 0, 0]  # type: ignore[attr-defined]
    assert memory.sum().item() == 3


def test_what_nobody_wrote_is_not_a_number(cuda: Machine) -> None:
    assert torch.empty(5, device=CUDA).isnan().all().item()
    assert torch.empty(5, pin_memory=True).isnan().all()
    assert torch.empty(2, dtype=torch.int64, device=CUDA).tolist() == [-1, -1]


def test_streams_are_independent_unless_one_waits(cuda: Machine) -> None:
    for waits in (False, True):
        source, side = torch.zeros(3, device=CUDA), torch.cuda.Stream()
        torch.cuda.synchronize()
        source += 1
        if waits:
            side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            copy = source.clone()
        side.synchronize()
        assert copy.host.tolist() == [float(waits)] * 3  # type: ignore[attr-defined]


def test_an_event_orders_what_came_before_it_alone(cuda: Machine) -> None:
    source, side, event = torch.zeros(3, device=CUDA), torch.cuda.Stream(), torch.cuda.Event()
    source += 1
    event.record()
    source += 1
    with torch.cuda.stream(side):
        event.wait()
        copy = source.clone()
    side.synchronize()
    assert copy.host.tolist() == [1, 1, 1]  # type: ignore[attr-defined]
    assert source.tolist() == [2, 2, 2]


def test_a_snapshot_that_nothing_orders_follows_the_next_epoch(cuda: Machine) -> None:
    parameters, kept = torch.zeros(3, device=CUDA), torch.empty(3, pin_memory=True)
    copies = torch.cuda.Stream()
    for _ in range(2):
        parameters += 1
    with torch.cuda.stream(copies):
        copies.wait_stream(torch.cuda.default_stream())
        kept.copy_(parameters, non_blocking=True)
    parameters += 1  # does not wait for the copy
    torch.cuda.default_stream().synchronize()
    copies.synchronize()
    assert kept.tolist() == [3, 3, 3]


def test_an_event_asked_often_enough_is_done(expecting: Expecting) -> None:
    event = torch.cuda.Event()
    assert event.query()  # nothing was recorded
    torch.ones(3, device=CUDA).add_(1)
    event.record()
    while not event.query():
        pass


def test_an_event_belongs_to_a_device(cuda: Machine) -> None:
    event = torch.cuda.Event()
    event.record()
    with (
        cuda.expecting("an event of device 0"),
        pytest.raises(RuntimeError, match="does not match"),
        torch.cuda.device(1),
    ):
        event.record()


def test_events_tell_time_once_they_are_over(expecting: Expecting) -> None:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    torch.ones(3, device=CUDA).add_(1)
    end.record()
    end.synchronize()
    assert start.elapsed_time(end) > 0
    untimed = torch.cuda.Event()
    untimed.record()
    with expecting("without timing"), pytest.raises(ValueError, match="enable_timing"):
        untimed.elapsed_time(end)
