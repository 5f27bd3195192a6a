"""Triton's interpreter, at half its price."""

import inspect
from typing import Any

import pytest


def patch_once(patch: pytest.MonkeyPatch) -> None:
    """The interpreter puts itself into Triton's language at each call within a launch; once is enough, and quicker."""
    from triton.runtime import interpreter

    begin, within, done = interpreter.GridExecutor.__call__, interpreter._patch_lang, set[Any]()

    def launch(executor: Any, *args: Any, **words: Any) -> None:
        done.clear()
        begin(executor, *args, **words)

    def put(function: Any) -> Any:
        modules = frozenset(id(value) for value in function.__globals__.values() if inspect.ismodule(value))
        if modules in done:
            return None
        done.add(modules)
        return within(function)

    patch.setattr(interpreter.GridExecutor, "__call__", launch)
    patch.setattr(interpreter, "_patch_lang", put)
