"""How a setting is a flag: what it says of itself, and what it allows."""

import math
import operator
import os
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

from draw_poly.engine.schedule import LOG

ON, OFF = "on", "off"
REGIONS = ("every", "frames", "off")
# Of a parameter, a rate or a weight: its square is still a float32; and a share of it is no subnormal one.
LARGEST_VALUE = 1e18
LEAST_VALUE = 1e-30
LARGEST_MOMENTUM = 0.9999999  # that float32 tells from 1
LARGEST_COUNT = 2**62
COUNT, RATE, VALUE = (1, LARGEST_COUNT), (LEAST_VALUE, LARGEST_VALUE), (-LARGEST_VALUE, LARGEST_VALUE)
PATHS = ("input", "output_dir", "snapshot_dir", "checkpoint_dir", "log_file", "resume")


class ConfigError(ValueError):
    """What the user asked for cannot be done; the text is one sentence for the user."""


@dataclass(frozen=True)
class Flag:
    """How a `Config` field appears on the command line."""

    group: str
    help: str
    example: str
    short: str | None = None
    kind: Callable[[str], Any] = str
    choices: tuple[str, ...] | None = None
    metavar: str | None = None
    limits: tuple[float, float] | None = None  # of a number: the least and the greatest that are allowed
    several: bool = False
    repeated: bool = False  # its values add up, where it is given several times
    bare: str | None = None  # what the flag means where no value follows


def save_interval(text: str) -> int | str:
    """A number of epochs, or `log`. Raises ValueError for anything else."""
    return text if text == LOG else int(text)


def region_interval(text: str) -> int | str:
    """A number of epochs, or one of `REGIONS`. Raises ValueError for anything else."""
    return text if text in REGIONS else int(text)


def switch(text: str) -> bool:
    """What is on or off, where flags are given as words. Raises ValueError for anything else."""
    if text not in (ON, OFF):
        raise ValueError(text)
    return text == ON


def code_interval(text: str) -> int | str:
    """A number of epochs, or `off`. Raises ValueError for anything else."""
    return text if text == OFF else int(text)


WORDS: dict[object, str] = {
    save_interval: f", or {LOG}",
    region_interval: f", or {', '.join(REGIONS)}",
    code_interval: f", or {OFF}",
}
# Words that stand in place of a number.
INSTEAD: dict[object, tuple[str, ...]] = {save_interval: (LOG,), region_interval: REGIONS, code_interval: (OFF,)}


def flag(default: Any, group: str, help: str, example: str, **words: Any) -> Any:
    """A field of a dataclass that is a flag; `...` is the default of one that must be given."""
    metadata = {"flag": Flag(group, help, example, **words)}
    return field(metadata=metadata) if default is ... else field(default=default, metadata=metadata)


def option(name: str) -> str:
    """A field's name as the user types it."""
    return "--" + name.replace("_", "-")


def check_fields(options: Any) -> None:
    """Has each field of a record of flags, as it is made, be as it is kept. Raises ConfigError as `checked` does."""
    for item in fields(options):
        if (value := getattr(options, item.name)) is not None:
            object.__setattr__(options, item.name, checked(item.name, item.metadata["flag"], value))


def checked(name: str, flag: Flag, value: Any) -> Any:
    """A field's value as it is kept: a path without `~`, a number of its kind. Raises ConfigError for another one."""
    if name in PATHS:
        given = [value] if isinstance(value, str | os.PathLike) else value
        if not all(map(str, given)):
            raise ConfigError(f"{option(name)} was empty: give a path")
        paths = tuple(map(os.path.expanduser, given))
        return paths[0] if given is not value else paths
    if flag.choices and value not in flag.choices:
        raise ConfigError(f"{option(name)} was {value!r}: give one of {', '.join(flag.choices)}")
    if flag.limits is None or value in INSTEAD.get(flag.kind, ()):
        return value
    whole = flag.kind is not float
    least, most = flag.limits
    try:
        number = operator.index(value) if whole else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not least <= number <= most:
        wanted = f"a {'whole ' * whole}number from {_number(least)} to {_number(most)}"
        raise ConfigError(f"{option(name)} was {shortened(value)}: give {wanted}{WORDS.get(flag.kind, '')}")
    return number


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.9g}"


def shortened(value: object) -> str:
    """A value as a sentence shows it."""
    text = str(value)
    return text if len(text) <= 60 else text[:60] + "…"
