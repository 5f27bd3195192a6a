"""The members of a sweep: every combination of what `--vary` and a table give, each a run of its own."""

import csv
import dataclasses
import hashlib
import io
import itertools
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from draw_poly.engine.config import DEFAULTS, Config, ConfigError
from draw_poly.engine.flags import option, shortened
from draw_poly.engine.sweep.values import (
    MOST_MEMBERS,
    flag_named,
    key_of,
    text_of,
    too_many,
    value_of,
    values_of,
)  # fmt: skip

LONGEST_NAME = 80
# One row of values, by field: those of a flag's one value, or of a table's row.
Choice = dict[str, Any]


@dataclass(frozen=True)
class Member:
    """One run of a sweep; `varied` are the fields in which members may differ, in the order of the flags."""

    number: int  # from 1
    varied: Mapping[str, Any]
    config: Config

    @property
    def name(self) -> str:
        """A name for its folder: of letters that every file system takes, its own by its number."""
        words = "_".join(f"{option(name)[2:]}={text_of(name, value)}" for name, value in self.varied.items())
        safe = re.sub(r"[^\w.=+,-]+", "-", words.replace("*", "x").replace("[", "").replace("]", ""), flags=re.ASCII)
        return f"{self.number:04d}_{safe}"[:LONGEST_NAME].rstrip("._-")

    @property
    def label(self) -> str:
        """What it is, for a person: `seed 1, learning-rate 0.001`."""
        return _label(self.varied)


def members(words: Mapping[str, Any], vary: Sequence[str], vary_from: str | None = None) -> list[Member]:
    """The members of a sweep of runs that else have these keywords of `Config`; the last flag varies fastest.

    `vary` are words `FLAG=VALUES`, `vary_from` is a table of members, whose rows vary slowest. Raises ConfigError for
    what cannot be read, for a member that comes twice, for too many of them, and for one that `Config` refuses.
    """
    axes = [_rows(words, vary_from)] if vary_from is not None else []
    for word in vary:
        given, equals, text = word.partition("=")
        if not equals:
            raise ConfigError(f"--vary was {shortened(word)!r}: give a flag and its values, such as seed=1..64")
        name = flag_named(given)
        if any(name in axis[0] for axis in axes):
            raise ConfigError(f"{option(name)} varies twice: give all its values at once")
        axes.append([{name: value} for value in values_of(name, text)])
    if not axes:
        raise ConfigError("a sweep needs --vary, such as --vary seed=1..64, or --vary-from with a table")
    sizes = [len(axis) for axis in axes]
    if (count := math.prod(sizes)) > MOST_MEMBERS:
        raise too_many(f"{' x '.join(map(str, sizes))} = {count} members were asked for")
    combined = ({key: value for choice in row for key, value in choice.items()} for row in itertools.product(*axes))
    return [_member(number, words, varied) for number, varied in enumerate(combined, 1)]


def identity(members: Sequence[Member]) -> str:
    """8 hexadecimal digits that name a sweep: of what makes its runs what they are, not of where and how they run."""
    # It knows of the quantities of a run, and these of torch, which takes a second: not spent on a flag that is wrong.
    from draw_poly.engine.files import RUN_SETTINGS, settings_of

    digest = hashlib.sha256()
    for member in members:
        settings = settings_of(member.config)
        digest.update(json.dumps({name: settings[name] for name in (*RUN_SETTINGS, *member.varied)}).encode())
    return digest.hexdigest()[:8]


def _member(number: int, words: Mapping[str, Any], varied: Choice) -> Member:
    """Raises ConfigError with the member's own settings where `Config` refuses it."""
    settings = {**words, **varied}
    for name, default in DEFAULTS.items():
        if default is dataclasses.MISSING and settings.get(name) is None:
            raise ConfigError(f"{option(name)} is missing: give one for all members, or have it vary")
    try:
        return Member(number, varied, Config(**settings))
    except ConfigError as refusal:
        raise ConfigError(f"member {number} ({shortened(_label(varied))}) cannot be: {refusal}") from None


def _label(varied: Mapping[str, Any]) -> str:
    return ", ".join(f"{option(name)[2:]} {text_of(name, value)}" for name, value in varied.items())


def _rows(words: Mapping[str, Any], path: str) -> list[Choice]:
    """The rows of a table whose header names flags; an empty cell has the value that members have without it.

    Raises ConfigError for what cannot be read, and for a row that comes twice.
    """
    said = f"--vary-from {path}"
    try:
        text = Path(path).expanduser().read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{said} cannot be read ({error.strerror})") from None
    except ValueError:
        raise ConfigError(f"{said} is no text in UTF-8") from None
    first = text.split("\n", 1)[0]
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=first.count), strict=True)
    rows: list[Choice] = []
    numbers: dict[tuple[object, ...], int] = {}
    try:
        header = [flag_named(cell) for cell in next(lines, [])]
        if len(set(header)) < len(header):
            twice = next(name for name in header if header.count(name) > 1)
            raise ConfigError(f"{option(twice)} has two columns: give it one")
        for line in lines:
            if not line:
                continue
            if len(line) != len(header):
                raise ConfigError(f"line {lines.line_num} has {len(line)} cells for {len(header)} flags")
            row = {name: _cell(words, name, cell.strip()) for name, cell in zip(header, line, strict=True)}
            key = tuple(key_of(name, value) for name, value in row.items())
            if (before := numbers.setdefault(key, lines.line_num)) != lines.line_num:
                raise ConfigError(f"lines {before} and {lines.line_num} are the same member: give each once")
            rows.append(row)
            if len(rows) > MOST_MEMBERS:
                raise too_many("it has more rows than that")
    except csv.Error as error:
        raise ConfigError(f"{said} is no table, in line {lines.line_num}: {error}") from None
    except ConfigError as refusal:
        raise ConfigError(f"{said}: {refusal}") from None
    if not rows:
        raise ConfigError(f"{said} has no members: give flags in its first line, and a member in each further one")
    return rows


def _cell(words: Mapping[str, Any], name: str, text: str) -> Any:
    if text:
        return value_of(name, text)
    default = DEFAULTS[name]
    return words.get(name, None if default is dataclasses.MISSING else default)
