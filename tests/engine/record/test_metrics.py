import errno
import os
import resource
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from draw_poly.engine.record.measures import Row, last_of, of_epochs
from draw_poly.engine.record.metrics import Metrics
from draw_poly.engine.record.plot import plot
from draw_poly.engine.record.table import HEADER, ranges
from draw_poly.engine.schedule import Schedule
from tests.epochs import one_epoch


def row(number: int, polytopes: int | None = None) -> Row:
    found = last_of(of_epochs(one_epoch(number)))
    return found if polytopes is None else {**found, "polytopes": polytopes}


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def write(path: Path, epochs: range, keep: int = 0, interval: int = 1) -> None:
    metrics = Metrics(path, keep, Schedule(interval))
    for number in epochs:
        metrics.add(row(number, 10 * number if number % 2 == 0 else None))
    metrics.close()


def test_rows_come_after_those_that_count_and_once(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    write(path, range(1, 8))
    write(path, range(5, 7), keep=4)
    rows = lines(path)
    assert rows[0] == "epoch,task,kolmogorov,validation,polytopes,seconds,combined,bits,network_bits,coded"
    assert [row.split(",")[0] for row in rows[1:]] == ["1", "2", "3", "4", "5", "6"]
    assert rows[4] == "4,0.25,5,0.333333333,40,0.001000,0.75,,,"
    assert rows[3] == "3,0.25,5,0.333333333,,0.001000,0.75,,,"


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
    assert lines(path)[4] == "4,0.25,5,0.333333333,,0.001000,0.75,,,"
    assert lines(path)[2] == "2,0.25,5,0.333333333,20,0.001000,0.75,,,"


def epochs_of(path: Path) -> list[str]:
    return [line.split(",", 1)[0] for line in lines(path)[1:]]


def spoilt(path: Path, how: str) -> None:
    """Leaves a table as a spreadsheet or an editor would."""
    text = path.read_text()
    if how == "bom":
        path.write_text(text, encoding="utf-8-sig")
    elif how == "semicolons":
        path.write_text(text.replace(",", ";"))
    elif how == "decimal commas":
        path.write_text(text.replace(",", ";").replace(".", ","), encoding="utf-8-sig", newline="\r\n")
    elif how == "tabs":
        path.write_text(text.replace(",", "\t"), encoding="utf-16")
    elif how == "quotes":
        path.write_text("\n".join(",".join(f'"{cell}"' for cell in line.split(",")) for line in text.splitlines()))
    elif how == "upside down":
        head, *rest = text.splitlines()
        path.write_text("\n".join([head, *rest[::-1]]) + "\n")


@pytest.mark.parametrize("how", ["bom", "semicolons", "decimal commas", "tabs", "quotes", "upside down"])
def test_a_table_that_a_spreadsheet_saved_is_read_and_kept(tmp_path: Path, how: str) -> None:
    path = tmp_path / "metrics.csv"
    write(path, range(1, 8))
    before = lines(path)[:6]
    spoilt(path, how)
    found = path.read_bytes()
    metrics = Metrics(path, 5)
    metrics.close()
    assert lines(path) == before
    assert metrics.earlier.column("epoch").tolist() == [1, 2, 3, 4, 5]
    kept = tmp_path / "metrics.kept-1.csv"
    assert kept.read_bytes() == found
    assert len(metrics.notes) == 1
    assert str(path) in metrics.notes[0]
    assert str(kept) in metrics.notes[0]
    again = Metrics(path, 5)
    again.close()
    assert again.notes == []


def test_rows_that_are_no_numbers_are_lacking_and_said(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    write(path, range(1, 8))
    path.write_text(path.read_text().replace("\n4,0.25", "\n4,25. Jan"))
    metrics = Metrics(path, 7)
    metrics.close()
    assert epochs_of(path) == ["1", "2", "3", "5", "6", "7"]
    assert any("lacks the rows of epoch 4" in note for note in metrics.notes)
    assert "25. Jan" in (tmp_path / "metrics.kept-1.csv").read_text()


def test_a_gap_is_said_also_where_there_is_no_table(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    missing = Metrics(path, 4)
    missing.close()
    assert missing.notes == [f"{path} lacks the rows of epochs 1 to 4: {path} was not there"]
    write(path, range(1, 10))
    path.write_text("".join(f"{line}\n" for line in lines(path) if line[:2] not in ("3,", "5,", "6,")))
    gap = Metrics(path, 9)
    gap.close()
    assert gap.notes == [f"{path} lacks the rows of epoch 3, epochs 5 to 6"]
    assert gap.drawn == [2, 4, 8]


def test_rows_that_cannot_be_written_are_held_and_come_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "metrics.csv"
    metrics = Metrics(path)
    metrics.add(row(1, 7))
    metrics.flush()
    assert metrics.held == []
    # A limit of the size of files, as of a disk: the row's beginning still fits.
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    metrics.add(row(2))
    metrics.add(row(3, 9))
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 10, hard))
    try:
        for _ in range(2):
            with pytest.raises(OSError, match="File too large") as failure:
                metrics.flush()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert failure.value.filename == str(path)
    assert epochs_of(path) == ["1"]
    held = metrics.held
    assert [row[:2] for row in held] == ["2,", "3,"]
    resumed = Metrics(tmp_path / "metrics.csv", 3, held=held)
    resumed.close()
    assert epochs_of(path) == ["1", "2", "3"]
    assert resumed.notes == []
    assert resumed.earlier.column("epoch").tolist() == [1, 2, 3]
    again = Metrics(path, 2)
    again.add(row(3, 9))
    monkeypatch.setattr(os, "fsync", failing_once(os.fsync))
    with pytest.raises(OSError, match="Input/output"):
        again.flush()
    assert [row[:2] for row in again.held] == ["3,"]  # it may be on the disk, or not
    again.close()
    assert epochs_of(path) == ["1", "2", "3"]


def failing_once(real: Callable[[int], None]) -> Callable[[int], None]:
    calls: list[int] = []

    def call(number: int) -> None:
        calls.append(number)
        if len(calls) == 1:
            raise OSError(errno.EIO, "Input/output error")
        real(number)

    return call


def test_a_table_elsewhere_is_gone_on_with_here(tmp_path: Path) -> None:
    source, path = tmp_path / "old.csv", tmp_path / "new.csv"
    write(source, range(1, 8))
    before = source.read_bytes()
    metrics = Metrics(path, 5, source=source)
    metrics.add(row(6))
    metrics.close()
    assert epochs_of(path) == ["1", "2", "3", "4", "5", "6"]
    assert source.read_bytes() == before


def test_polytopes_seen_later_come_into_their_rows(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    metrics = Metrics(path)
    for number in range(1, 5):
        metrics.add(row(number))
    metrics.see({2: {"polytopes": 20}, 4: {"polytopes": 44}})
    metrics.add(row(5, 50))
    metrics.close()
    assert [line.split(",")[4] for line in lines(path)[1:]] == ["", "20", "", "44", "50"]


def test_many_rows_are_read_by_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "metrics.csv"
    tasks = [f"{1 / number:.9g}" for number in range(1, 20_001)]
    text = "".join(f"{number},{task},0,{task},,0.000100,{task},,,\n" for number, task in enumerate(tasks, 1))
    path.write_text(HEADER + text)
    monkeypatch.setattr("csv.DictReader", None)  # which takes 24 microseconds a row
    metrics = Metrics(path, 20_000)
    metrics.close()
    assert np.allclose(metrics.earlier.column("task"), 1 / np.arange(1, 20_001))
    assert path.read_text() == HEADER + text


OLD = "epoch,task,kolmogorov,validation,polytopes,seconds\n1,0.5,2,0.25,7,0.001000\n2,0.25,4,0.125,,0.001000\n"


def test_a_table_without_the_loss_that_was_trained_gets_it_and_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text(OLD)
    metrics = Metrics(path, 3, held=["3,0.125,4,0.5,,0.001000\n"], weight=0.1)
    assert metrics.notes == []
    assert metrics.earlier.column("combined").tolist() == pytest.approx([0.7, 0.65, 0.525])
    metrics.add(row(4))
    metrics.close()
    before = OLD.splitlines()
    assert lines(path) == [
        f"{before[0]},combined,bits,network_bits,coded", f"{before[1]},0.7,,,", f"{before[2]},0.65,,,",
        "3,0.125,4,0.5,,0.001000,0.525,,,", "4,0.25,5,0.333333333,,0.001000,0.75,,,",
    ]  # fmt: skip
    again = Metrics(path, 4, weight=1000.0)  # what rows tell, no weight changes
    again.close()
    assert again.earlier.column("combined").tolist() == pytest.approx([0.7, 0.65, 0.525, 0.75])


def test_plots_are_written_from_the_metrics_of_any_version(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    write(path, range(1, 8))
    written = plot(path, tmp_path)
    assert [found.name for found in written] == ["losses.png", "polytopes.png"]
    assert all(found.stat().st_size > 5000 for found in written)
    Metrics(path).close()
    assert plot(path, tmp_path) == []
    path.write_text(OLD)
    assert plot(path, tmp_path) == written


def test_ranges_are_words() -> None:
    assert ranges([]) == ""
    assert ranges([3]) == "epoch 3"
    assert ranges([1, 2, 3, 7, 9, 10]) == "epochs 1 to 3, epoch 7, epochs 9 to 10"
