from pathlib import Path

import numba
import numba.core.caching
import pytest

from kernels.compiled import is_kept, kernel
from kernels.cpu.training import work


def test_kernels_compile_where_no_folder_can_hold_their_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba.core.caching.CompileResultCacheImpl, "_locator_classes", [])

    @kernel
    def double(x):  # type: ignore[no-untyped-def]
        return 2 * x

    assert double(21) == 42


def test_the_code_kept_on_disk_is_as_new_as_the_newest_kernel() -> None:
    names = [name for name, _ in work._cache._cache_file._source_stamp]
    assert {"mlp.py", "tiles.py", "training.py", "vector.py"} <= set(names)


def test_a_kernel_is_kept_once_it_has_been_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))

    @kernel
    def triple(x):  # type: ignore[no-untyped-def]
        return 3 * x

    assert not is_kept(triple)
    assert triple(14) == 42
    assert is_kept(triple)
