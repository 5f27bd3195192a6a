import logging
from pathlib import Path

from draw_poly.engine.config import Config
from draw_poly.engine.record.journal import log, logging_to


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def test_the_log_goes_to_a_file_as_well_and_handlers_go_away(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    with logging_to(Config("x", "[1]", 1, log_file=str(path), quiet=True)):
        log.info("Größe λ")
    assert lines(path)[0].endswith(" - polytope_nn - INFO - Größe λ")
    assert logging.getLogger("polytope_nn").handlers == []
