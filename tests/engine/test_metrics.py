import errno
import os
from pathlib import Path

import numpy as np
import pytest

from engine.metrics import Metrics, ranges
from engine.schedule import Schedule
from engine.trainer import Epoch

EPOCH = Epoch(task=0.25, kolmogorov=5.0, weighted=0.5, validation=1 / 3, constant=False, seconds=0.001)


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def write(path: Path, epochs: range, keep: int = 0, interval: int = 1) -> None:
    metrics = Metrics(path, keep, Schedule(interval))
    for number in epochs:
        metrics.add(number, EPOCH, 10 * number if number % 2 == 0 else None)
    metrics.close()


def test_rows_come_after_those_that_count_and_once(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    write(path, range(1, 8))
    write(path, range(5, 7), keep=4)
    rows = lines(path)
    assert rows[0] == "epoch,task,kolmogorov,validation,polytopes,seconds"
    assert [row.split(",")[0] for row in rows[1:]] == ["1", "2", "3", "4", "5", "6"]
    assert rows[4] == "4,0.25,5,0.333333333,40,0.001000"
    assert rows[3] == "3,0.25,5,0.333333333,,0.001000"


def test_a_row_cut_off_by_a_crash_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    write(path, range(1, 4))
    path.write_text(path.read_text() + "4,0.25,5,0.3")
    write(path, range(4, 6), keep=4)
    assert [row.split(",")[0] for row in lines(path)[1:]] == ["1", "2", "3", "4", "5"]


def test_the_frame_of_an_ending_is_none_of_the_longer_runs(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    write(path, range(1, 5))
    write(path, range(5, 5), keep=4, interval=3)
    assert lines(path)[4] == "4,0.25,5,0.333333333,,0.001000"
    assert lines(path)[2] == "2,0.25,5,0.333333333,20,0.001000"
