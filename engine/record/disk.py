"""Files on a disk that may be full or failing: written whole, read with their name, kept where they cannot be used."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


class ReadError(OSError):
    """A file cannot be read."""

    deed = "read"


class RemovalError(OSError):
    """A file cannot be removed."""

    deed = "removed"


def write_whole(path: Path, content: bytes | memoryview | Callable[[Path], object], synced: bool = True) -> None:
    """Writes bytes, or has them written, under another name and renames the file: no half file bears this name.

    It is on the disk before it bears its name, unless `synced` is false. Raises OSError with the path's name.
    """
    part = part_of(path)
    with named(path):
        try:
            if callable(content):
                content(part)
            else:
                part.write_bytes(content)
            if synced:
                sync(part)
            os.replace(part, path)
        except BaseException:
            with suppress(OSError):  # the first failure is the one to tell
                part.unlink(missing_ok=True)
            raise
        if synced:
            sync_folder(path.parent)


def part_of(path: Path) -> Path:
    """The name of a file on its way to this one."""
    return path.with_name(f".{path.name}.tmp")


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Has a failed write tell this name: what Python or a library tells is another's, or none."""
    try:
        yield
    except ReadError:
        raise
    except OSError as error:
        error.filename, error.filename2 = str(path), None
        raise


def sync(path: Path) -> None:
    """Waits until a file's content is on the disk. Raises OSError with its name."""
    with named(path):
        number = os.open(path, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def sync_folder(path: Path) -> None:
    """Waits until the names in a folder are on the disk, where the system can."""
    with suppress(OSError):
        sync(path)


def read(path: Path) -> bytes:
    """A file's content. Raises ReadError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ReadError(error.errno, error.strerror, str(path)) from error


def remove(path: Path) -> None:
    """Removes a file, or a folder with what is in it, if it is there. Raises RemovalError."""
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise RemovalError(error.errno, error.strerror, str(path)) from error


def kept_aside(path: Path, copied: bool = True) -> Path:
    """Copies, or else renames, a file to a name that is free, `name.kept-1.csv`, and returns that name."""
    number = 1
    while os.path.lexists(kept := path.with_name(f"{path.stem}.kept-{number}{path.suffix}")):
        number += 1
    with named(kept):
        if copied:
            shutil.copyfile(path, kept)
            sync(kept)
        else:
            os.replace(path, kept)
    return kept
