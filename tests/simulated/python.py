"""A Python whose CUDA devices are simulated: `python -m tests.simulated.python FILE …`, or `-m MODULE …`."""

import runpy
import sys

from tests.simulated.machine import Machine

# The exit status of a program that did what CUDA forbids.
FORBIDDEN = 99


def main(words: list[str]) -> int:
    """Runs it as if it had been started by itself; its exit status."""
    machine, status = Machine(), 0
    with machine.installed():
        try:
            if words[0] == "-m":
                sys.argv = words[1:]
                runpy.run_module(words[1], run_name="__main__", alter_sys=True)
            else:
                sys.argv = words
                runpy.run_path(words[0], run_name="__main__")
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
    if machine.violations:
        print("\n".join(["CUDA forbids:", *machine.violations]), file=sys.stderr)
        return FORBIDDEN
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
