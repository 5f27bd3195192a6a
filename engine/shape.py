"""Hidden layer widths as the user writes them."""

import ast
import re

from draw_poly.engine.flags import ConfigError, shortened

MAX_LAYERS = 10_000
MAX_WIDTH = 1_000_000


def parse_shape(text: str, name: str = "--shape") -> tuple[int, ...]:
    """Hidden layer widths from lists of whole numbers joined by `+` and repeated by `*`: `[10]*8`, `[7, 12, 5]`.

    Nothing is evaluated. Raises ConfigError for anything else, and for a size no machine holds.
    """
    given = shortened(text)
    refusal = ConfigError(
        f"{name} was {given!r}: give a list of whole numbers of at least 1, such as '[10]*8' or '[7,12,5]'"
    )
    if len(text) > 100_000 or not re.fullmatch(r"[\d\s\[\](),*+]+", text, re.ASCII):
        raise refusal
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        widths = _shape_value(tree)
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        raise refusal from None
    if not isinstance(widths, list) or not widths or not all(isinstance(w, int) and w >= 1 for w in widths):
        raise refusal
    if len(widths) > MAX_LAYERS or max(widths) > MAX_WIDTH:
        raise ConfigError(
            f"{name} was {given!r}: at most {MAX_LAYERS} layers of at most {MAX_WIDTH} neurons are allowed"
        )
    return tuple(widths)


def _shape_value(node: ast.expr) -> int | list[int]:
    """The value of a shape's syntax tree. Raises TypeError or ValueError where it has none."""
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return node.value
    if isinstance(node, ast.List | ast.Tuple):
        parts = [_shape_value(item) for item in node.elts]
        if any(isinstance(part, list) for part in parts):
            raise TypeError("nested")
        return [part for part in parts if isinstance(part, int)]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult | ast.Add):
        left, right = _shape_value(node.left), _shape_value(node.right)
        if isinstance(node.op, ast.Add):
            if isinstance(left, list) and isinstance(right, list):
                return left + right
            raise TypeError("a sum of numbers")
        if isinstance(left, int):
            left, right = right, left
        if isinstance(left, list) and isinstance(right, int):
            # One layer past the limit is enough to be refused, however often it is repeated.
            return left * min(right, MAX_LAYERS // max(len(left), 1) + 1)
    raise TypeError("not a list")
