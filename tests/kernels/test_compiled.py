import numba.core.caching
import pytest

from kernels.compiled import kernel
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
