"""Checkpoints as files: found, read without running any code in them, written whole or not at all."""

import glob
import io
import os
import pickle
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from draw_poly.engine.config import ConfigError
from draw_poly.engine.files import CHECKPOINT_EPOCH, Files
from draw_poly.engine.record.disk import ReadError, read, write_whole


class CheckpointError(ConfigError):
    """A checkpoint cannot be used; the text is one sentence for the user."""


def find(texts: Iterable[str], files: Files) -> list[Path]:
    """The checkpoints that `--resume` may mean by files, folders and patterns, the newest first.

    Of each run that has these names, with whatever number, the newest; where there is none, the newest of all. Raises
    CheckpointError where there is no checkpoint.
    """
    found = [path for text in texts for path in _meant(text)]
    if not found:
        where = "in this folder" if any(map(os.path.isdir, texts)) else "no such file, folder or match of a pattern"
        given = " ".join(texts)
        raise CheckpointError(f"--resume {given[:200]}: no checkpoint (*_epoch_N.pt) was found, {where}")
    runs: dict[str, Path] = {}
    for path in sorted(found, key=_age):
        if run := files.run_of(path.name):
            runs[run] = path
    return sorted(runs.values(), key=_age, reverse=True) or [max(found, key=_age)]


def newest(text: str) -> Path:
    """The checkpoint that a path or a pattern names; of a folder the one of the last epoch. Raises CheckpointError."""
    found = _meant(text)
    if not found:
        raise CheckpointError(f"{text[:200]}: no checkpoint (*_epoch_N.pt) was found there")
    return max(found, key=_age)


def _meant(text: str) -> list[Path]:
    path = Path(text)
    if os.path.isfile(path):
        return [path]
    found = list(path.iterdir()) if os.path.isdir(path) else [Path(name) for name in glob.glob(text)]
    return [item for item in found if item.is_file() and CHECKPOINT_EPOCH.search(item.name)]


def _age(path: Path) -> tuple[int, float]:
    match = CHECKPOINT_EPOCH.search(path.name)
    return int(match[1]) if match else -1, path.stat().st_mtime


def write(path: Path, content: dict[str, Any]) -> None:
    """Writes a whole checkpoint or none: to another name, synced, renamed. Raises OSError where that fails."""
    # In memory first: torch has words of its own for a full disk.
    whole = io.BytesIO()
    torch.save(content, whole)
    write_whole(path, whole.getbuffer())


def unpickled(path: Path) -> dict[str, Any]:
    """A checkpoint's content, read without running any code in it. Raises CheckpointError where it is none."""
    try:
        data = read(path)
    except ReadError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror})") from error
    reconstruct = np.zeros(1, np.uint32).__reduce__()[0]
    allowed: list[Any] = [np.ndarray, np.dtype, type(np.dtype(np.uint32)), reconstruct]
    # Where NumPy kept the function before version 2.
    allowed += [(reconstruct, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")]
    try:
        with torch.serialization.safe_globals(allowed):
            content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} is no checkpoint: it is another kind of file, or holds objects that are not allowed in one"
        ) from error
    except Exception as error:  # torch raises many kinds for a file that is cut off or no checkpoint at all
        how = "it is cut off or damaged" if _begins_like_zip(data) else "it is another kind of file"
        raise CheckpointError(f"{path} is no checkpoint that can be read: {how}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} is no checkpoint: it holds a {type(content).__name__}")
    return content


def _begins_like_zip(data: bytes) -> bool:
    return data[:4] == b"PK\x03\x04" and not zipfile.is_zipfile(io.BytesIO(data))
