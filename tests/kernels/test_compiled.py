"""Kernels' code on disk: kept where it can be, and no run depends on it."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from itertools import product
from pathlib import Path
from typing import Any

import numba
import numba.core.caching
import pytest

from draw_poly.kernels import compiled
from draw_poly.kernels.compiled import is_kept, kernel
from draw_poly.kernels.cpu.training import work
from tests.conftest import Program, rows

ROOT = Path(__file__).parents[2]


def triple() -> Any:
    """A kernel that was not called yet; always the same one on disk."""

    @kernel
    def times_three(x):  # type: ignore[no-untyped-def]
        return 3 * x

    return times_three


def hits(one: Any) -> int:
    return sum(one.stats.cache_hits.values())


@pytest.fixture(autouse=True)
def _warnings_come_again() -> None:
    compiled._told.clear()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own for what is kept."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "kept"))
    return tmp_path / "kept"


def test_the_code_kept_on_disk_is_as_new_as_the_newest_kernel() -> None:
    names = [name for name, _ in work._cache._cache_file._source_stamp]
    assert {"gradient.py", "tiles.py", "training.py", "vector.py", "compiled.py"} <= set(names)


def test_a_kernel_is_kept_once_it_has_been_called(folder: Path) -> None:
    first = triple()
    assert not is_kept(first)
    assert first(14) == 42
    assert is_kept(first)
    second = triple()
    assert second(14) == 42
    assert (hits(first), hits(second)) == (0, 1)


def flipped(content: bytes) -> bytes:
    return content[:-9] + bytes([content[-9] ^ 16]) + content[-8:]


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "cut in its beginning": lambda content: content[:3],
    "cut in its middle": lambda content: content[: len(content) // 2],
    "cut at its end": lambda content: content[:-1],
    "garbage": lambda content: b"\x80\x04garbage" * 9,
    "zeros": lambda content: bytes(len(content)),
    "of another format": lambda content: content[32:],
    "one bit": flipped,
}


# An index that can be read, as of another version or another kernel.
SILENT = {("nbi", "of another format"), ("nbi", "one bit")}


@pytest.mark.parametrize(
    ("kind", "damage"),
    rows(
        product(["nbi", "nbc"], DAMAGE),
        quick=[*SILENT, ("nbi", "empty"), ("nbi", "garbage"), ("nbc", "cut in its middle"), ("nbc", "one bit")],
    ),
)
def test_damaged_code_is_compiled_anew_with_one_warning(
    folder: Path, caplog: pytest.LogCaptureFixture, kind: str, damage: str
) -> None:
    triple()(14)
    (path,) = folder.rglob(f"*.{kind}")
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    after, again = triple(), triple()
    assert (after(14), again(14)) == (42, 42)
    assert (hits(after), hits(again)) == (0, 1)  # and is whole again
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) <= 1
    if (kind, damage) not in SILENT:
        assert lines == [f"Kernels are compiled anew: their code is damaged, such as in {path.parent}"]


def test_lost_code_is_compiled_anew(folder: Path) -> None:
    triple()(14)
    (path,) = folder.rglob("*.nbc")
    path.unlink()
    assert triple()(14) == 42
    again = triple()
    assert again(14) == 42
    assert hits(again) == 1


def test_a_full_disk_keeps_nothing_with_one_warning(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(self: object, path: str) -> AbstractContextManager[None]:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    monkeypatch.setattr(numba.core.caching.IndexDataCacheFile, "_open_for_write", full)
    for one in (triple(), triple()):
        assert one(14) == 42
        assert one(1.5) == 4.5
    (line,) = (record.getMessage() for record in caplog.records)
    assert line.startswith(f"Kernels are compiled anew each time: {folder}")
    assert line.endswith("cannot be written (No space left on device)")


def test_damaged_code_on_a_full_disk_is_compiled_anew(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    triple()(14)
    (path,) = folder.rglob("*.nbi")
    path.write_bytes(b"")
    monkeypatch.setattr(numba.core.caching.Cache, "flush", lambda self: (_ for _ in ()).throw(OSError("full")))
    assert triple()(14) == 42


def test_kernels_compile_where_no_folder_can_hold_their_code(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(numba.core.caching.CompileResultCacheImpl, "_locator_classes", [])
    for one in (triple(), triple()):
        assert not is_kept(one)
        assert one(14) == 42
    (line,) = (record.getMessage() for record in caplog.records)
    assert line.startswith("Kernels are compiled anew each time: no folder for their code can be written")


def test_without_a_home_nothing_is_kept_in_a_folder_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    locators = [
        one for one in numba.core.caching.CompileResultCacheImpl._locator_classes if "InTree" not in one.__name__
    ]
    monkeypatch.setattr(numba.core.caching.CompileResultCacheImpl, "_locator_classes", locators)
    one = triple()
    assert one(14) == 42
    assert not is_kept(one)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("place", ["", "a file", "relative", "/dev/null/x", "/proc/x"])
def test_any_folder_may_be_named_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a file").touch()
    monkeypatch.setattr(numba.config, "CACHE_DIR", place)
    assert triple()(14) == 42


NO_COMPILER = (
    "draw-poly: NUMBA_DISABLE_JIT is set, and without Numba's compiler nothing can be computed or drawn: unset it\n"
)


def test_without_the_compiler_a_run_is_refused(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numba.config, "DISABLE_JIT", 1)
    outcome = program()
    assert outcome.status == 2
    assert outcome.log.endswith(NO_COMPILER)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_without_the_compiler_a_run_ends_with_a_sentence(tmp_path: Path, small_image: Path) -> None:
    words = f"-i {small_image} -s [4] -e 1 -p 9 -o {tmp_path}/r --snapshot-dir {tmp_path}/s".split()
    ended = subprocess.run(
        [sys.executable, ROOT / "cli.py", *words], env=os.environ | {"NUMBA_DISABLE_JIT": "1"}, cwd=ROOT,
        capture_output=True, text=True,
    )  # fmt: skip
    assert ended.returncode == 2
    assert ended.stderr == NO_COMPILER
    assert not (tmp_path / "r").exists()
