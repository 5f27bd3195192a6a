import io
import logging
import os
import sys
from pathlib import Path

import pytest

from draw_poly.engine.config import Config, ConfigError
from draw_poly.engine.record.journal import log, logging_to
from tests.conftest import Program


def config(path: Path | str) -> Config:
    return Config("x", "[1]", 1, log_file=str(path), quiet=True)


def test_a_log_tells_names_of_any_bytes(program: Program, tmp_path: Path) -> None:
    folder = os.fsdecode(b"caf\xe9")
    path = tmp_path / "run.log"
    outcome = program("-o", tmp_path / folder, "--log-file", path, "--seed", 1)
    assert outcome.status == 0, outcome.log
    assert "cannot be written" not in outcome.log
    text = path.read_text(encoding="utf-8")
    assert "caf\\udce9/checkpoint_" in text
    assert text.splitlines()[-1].endswith("=== Training completed successfully ===")
    assert len(list((tmp_path / folder).glob("*.mp4"))) == 1


def test_a_log_whose_own_name_is_of_any_bytes(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9") / os.fsdecode(b"\xff.log")
    with logging_to(config(path)):
        log.info("Größe λ, \udce9")
    assert path.read_text(encoding="utf-8").endswith("Größe λ, \\udce9\n")


def test_a_console_of_few_letters_shows_them_all(monkeypatch: pytest.MonkeyPatch) -> None:
    console = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="strict")
    monkeypatch.setattr(sys, "stderr", console)
    with logging_to(Config("x", "[1]", 1)):
        log.info("λ, \udce9")
    console.flush()
    assert console.buffer.getvalue().endswith(b"\\u03bb, \\udce9\n")


def test_a_log_makes_its_folder_and_goes_on_after_what_it_said_before(program: Program, tmp_path: Path) -> None:
    path = tmp_path / "out" / "results" / "logs" / "run.log"
    first = program("--seed", 1, "--log-file", path)
    assert first.status == 0, first.log
    second = program("--seed", 2, "--log-file", path)
    assert second.status == 0, second.log
    assert path.read_text() == first.log + second.log


@pytest.mark.parametrize("kind", ["image", "checkpoint", "metrics", "settings", "text"])
def test_what_is_no_log_is_not_written_into(program: Program, tmp_path: Path, small_image: Path, kind: str) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("my notes\n")
    assert program("--seed", 1).status == 0
    results = tmp_path / "out" / "results"
    path = {
        "image": small_image,
        "checkpoint": next(results.glob("*.pt")),
        "metrics": next(results.glob("*/metrics.csv")),
        "settings": next(results.glob("*/config.json")),
        "text": notes,
    }[kind]
    before = path.read_bytes()
    link = tmp_path / "link.log"
    link.symlink_to(path)
    for name in (path, link):
        outcome = program("--seed", 2, "--log-file", name)
        assert outcome.status == 2
        assert f"--log-file {name} is no log of this program: choose another name\n" in outcome.log
        assert path.read_bytes() == before


def test_a_log_of_the_original_program_and_an_empty_file_are_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    for begun in (b"", b"job 7\xff\n2024-01-31 09:00:00,123 - polytope_classifier - INFO - Epoch 1/2\n"):
        path.write_bytes(begun)
        with logging_to(config(path)):
            log.info("more")
        assert path.read_bytes().startswith(begun)
        assert path.read_text(errors="replace").endswith(" - polytope_nn - INFO - more\n")


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path, said in (("file/run.log", "Not a directory|File exists"), (".", "Is a directory")):
        with pytest.raises(ConfigError, match=f"cannot be written .({said})"), logging_to(config(tmp_path / path)):
            pass


def test_a_users_own_logging_neither_silences_the_log_nor_is_changed_by_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run.log"
    before = log.level, log.propagate, log.disabled
    try:
        log.setLevel(logging.ERROR)
        log.propagate, log.disabled = True, True  # as `logging.config` leaves a logger that it does not know
        with logging_to(Config("x", "[1]", 1, log_file=str(path))):
            log.info("heard")
        assert (log.level, log.propagate, log.disabled) == (logging.ERROR, True, True)
    finally:
        log.setLevel(before[0])
        log.propagate, log.disabled = before[1:]
    assert path.read_text().endswith(" - heard\n")
    assert capsys.readouterr().err.count("heard") == 1
