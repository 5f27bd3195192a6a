"""The values of a flag that varies, as one writes them: lists, ranges of whole numbers, logarithmic and linear ones."""

import difflib
import math
import re
from collections.abc import Iterator
from typing import Any

from draw_poly.engine.config import DATA, DEFAULTS, FIELDS, NETWORK, TERM, ConfigError
from draw_poly.engine.flags import OFF, ON, Flag, checked, option, shortened, switch
from draw_poly.engine.optimiser import OPTIMISER
from draw_poly.engine.shape import parse_shape

FLAGS: dict[str, Flag] = {item.name: item.metadata["flag"] for item in FIELDS}
MEMBERS_OWN = NETWORK, DATA, OPTIMISER, TERM
VARIABLE = tuple(name for name, flag in FLAGS.items() if flag.group in MEMBERS_OWN)
SOME = f"what --help has under {', '.join(MEMBERS_OWN)}, such as --seed or --learning-rate"
SHORT = {flag.short: name for name, flag in FLAGS.items() if flag.short}
SHAPES = ("shape", "kolmogorov_shape")
MOST_MEMBERS = 1_000_000
NONE = "none"
WHAT_IT_IS: dict[object, str] = {int: "a whole number", float: "a number", bool: "on or off"}
# Of a number between the ends of a range: as a person would write it, and no more than a float32 tells apart.
DIGITS = 9
NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
STEPS = re.compile(r"([+-]?\d+)\.\.([+-]?\d+)(?:\.\.([+-]?\d+))?", re.ASCII)
SPACED = re.compile(rf"({NUMBER})\.\.({NUMBER})\s+(lin|log)\s+(\d+)", re.ASCII)


def flag_named(text: str) -> str:
    """The field of a flag that may vary: `learning-rate`, `--learning-rate`, `learning_rate`, `l`, `-l`.

    Raises ConfigError for one that is none, or may not.
    """
    word = text.strip().lstrip("-")
    name = SHORT.get(word, word.replace("-", "_"))
    if name in VARIABLE:
        return name
    if name in FLAGS:
        raise ConfigError(f"{option(name)} is the same for all members of a sweep: what may vary is {SOME}")
    near = difflib.get_close_matches(word.replace("_", "-"), [option(one)[2:] for one in VARIABLE])
    hint = f"did you mean {' or '.join(near)}?" if near else f"give {SOME}"
    raise ConfigError(f"{shortened(text.strip())!r} is no flag: {hint}")


def values_of(name: str, text: str) -> list[Any]:
    """The values of a flag in the order in which they are written, none of them twice.

    Combinations by comma of values, of `1..64` and `1..64..4` (whole numbers, both ends included), `1e-4..1e-2 log 5`
    and `0..1 lin 5`. Commas within brackets are a shape's own. Raises ConfigError.
    """
    found: list[Any] = []
    for part in parts_of(text):
        if not part:
            raise ConfigError(
                f"--vary {option(name)[2:]}={shortened(text)} has an empty value: give one between commas"
            )
        found += _range(name, part) if ".." in part and FLAGS[name].kind in WHAT_IT_IS else [value_of(name, part)]
        if len(found) > MOST_MEMBERS:
            raise too_many(f"--vary {option(name)[2:]} has {len(found)} values")
    seen = set()
    for value in found:
        if (key := key_of(name, value)) in seen:
            raise ConfigError(f"--vary {option(name)[2:]} has {text_of(name, value)} twice: give each value once")
        seen.add(key)
    return found


def value_of(name: str, text: str) -> Any:
    """One value; `none` is that of a flag that need not be given. Raises ConfigError for what the flag refuses."""
    flag = FLAGS[name]
    if text == NONE and DEFAULTS[name] is None:
        return None
    try:
        value: Any = switch(text) if flag.kind is bool else flag.kind(text)
    except ValueError:
        what = WHAT_IT_IS[flag.kind] + f", or {NONE}" * (DEFAULTS[name] is None)
        raise ConfigError(f"{option(name)} was {shortened(text)!r}: give {what}") from None
    if name in SHAPES:
        parse_shape(value, option(name))
    return checked(name, flag, value)


def parts_of(text: str) -> Iterator[str]:
    """What stands between the commas that are outside brackets."""
    depth, start = 0, 0
    for index, character in enumerate(text):
        depth += (character in "[(") - (character in "])")
        if character == "," and depth <= 0:
            yield text[start:index].strip()
            start = index + 1
    yield text[start:].strip()


def text_of(name: str, value: Any) -> str:
    """A value as a person reads it: numbers to six digits, an image by its file's name."""
    if value is None:
        return NONE
    if name == "input":
        return re.split(r"[/\\]", str(value).rstrip("/\\"))[-1]
    if isinstance(value, bool):
        return ON if value else OFF
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def key_of(name: str, value: Any) -> object:
    """What is equal where a run would be: shapes by their widths, however they are written."""
    return parse_shape(value, option(name)) if name in SHAPES and value is not None else value


def too_many(what: str) -> ConfigError:
    """The refusal of more members than anybody trains."""
    return ConfigError(f"{what}, and a sweep has at most {MOST_MEMBERS} members: give fewer")


def _range(name: str, text: str) -> list[Any]:
    """The values from one number to another. Raises ConfigError."""
    flag = FLAGS[name]
    if match := STEPS.fullmatch(text):
        if max(map(len, match.groups(""))) > 25:
            raise ConfigError(f"--vary {option(name)[2:]}={shortened(text)} is past what any flag allows")
        low, high, step = int(match[1]), int(match[2]), int(match[3] or 1)
        if step < 1:
            raise ConfigError(f"--vary {option(name)[2:]}={text} has the step {step}: give one of at least 1")
        if (count := abs(high - low) // step + 1) > MOST_MEMBERS:
            raise too_many(f"--vary {option(name)[2:]}={text} has {count} values")
        numbers: list[float] = list(range(low, high + 1, step) if low <= high else range(low, high - 1, -step))
    elif match := SPACED.fullmatch(text):
        numbers = _spaced(name, text, float(match[1]), float(match[2]), match[3], match[4])
    else:
        raise ConfigError(
            f"--vary {option(name)[2:]}={shortened(text)} is no range: give whole numbers, such as 1..64 or 1..64..4, "
            "or say how many, such as 1e-4..1e-2 log 5 or 0..1 lin 5"
        )
    return [checked(name, flag, number) for number in numbers]


def _spaced(name: str, text: str, low: float, high: float, spacing: str, word: str) -> list[float]:
    """So many numbers, equally far apart or in equal ratios; of a flag of whole numbers the nearest ones."""
    said, count = f"--vary {option(name)[2:]}={text}", int(word) if len(word) < 10 else MOST_MEMBERS + 1
    if count > MOST_MEMBERS:
        raise too_many(f"{said} has {shortened(word)} values")
    if count < 2:
        raise ConfigError(f"{said} has {count} values: a range has at least its two ends")
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ConfigError(f"{said} has an end that is not finite")
    shares = [index / (count - 1) for index in range(1, count - 1)]
    if spacing == "log":
        if not (low > 0 and high > 0):
            raise ConfigError(f"{said} has an end that is not above 0: a logarithmic range needs both to be")
        between = [math.exp(math.log(low) * (1 - share) + math.log(high) * share) for share in shares]
    else:
        between = [low * (1 - share) + high * share for share in shares]
    numbers = [low, *(float(f"{number:.{DIGITS}g}") for number in between), high]
    return [round(number) for number in numbers] if FLAGS[name].kind is int else numbers
