import logging
from pathlib import Path

from draw_poly.engine.config import Config
from draw_poly.engine.journal import epoch_line, log, logging_to
from draw_poly.engine.metrics import Metrics
from draw_poly.engine.plot import plot
from draw_poly.engine.schedule import Schedule
from draw_poly.engine.trainer import Epoch

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
