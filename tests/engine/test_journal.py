import logging
from pathlib import Path

from engine.config import Config
from engine.journal import Metrics, epoch_line, log, logging_to
from engine.plot import plot
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


def test_the_epoch_line_is_the_originals() -> None:
    assert epoch_line(3, 20, EPOCH) == (
        "Epoch 3/20 - Combined Loss: 0.750000 (Task: 0.250000 + λ·K: 0.500000), Val Loss: 0.333333"
    )


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


def test_the_log_goes_to_a_file_as_well_and_handlers_go_away(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    with logging_to(Config("x", "[1]", 1, log_file=str(path), quiet=True)):
        log.info("Größe λ")
    assert lines(path)[0].endswith(" - polytope_nn - INFO - Größe λ")
    assert logging.getLogger("polytope_nn").handlers == []


def test_plots_are_written_from_the_metrics(tmp_path: Path) -> None:
    write(tmp_path / "metrics.csv", range(1, 8))
    written = plot(tmp_path / "metrics.csv", tmp_path / "losses.png", tmp_path / "polytopes.png")
    assert [path.name for path in written] == ["losses.png", "polytopes.png"]
    assert all(path.stat().st_size > 5000 for path in written)
    Metrics(tmp_path / "metrics.csv").close()
    assert plot(tmp_path / "metrics.csv", tmp_path / "a.png", tmp_path / "b.png") == []
