"""A Python that sees a simulated device, in place of one that sees a GPU.

python -m tests.simulated -m cli --help         # a module; also -c CODE, or a file, as of any Python
"""

import os
import runpy
import sys

os.environ["TRITON_INTERPRET"] = "1"  # before Triton is imported

from tests.simulated import Machine


def main(words: list[str]) -> None:
    """Runs a program; fails where it did what CUDA forbids."""
    machine = Machine()
    with machine.installed():
        try:
            _run(words)
        finally:
            machine.check()


def _run(words: list[str]) -> None:
    kind, *rest = words
    if kind == "-c":
        sys.argv = ["-c", *rest[1:]]
        exec(compile(rest[0], "-c", "exec"), {"__name__": "__main__"})
    elif kind == "-m":
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv = words
        runpy.run_path(kind, run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])
