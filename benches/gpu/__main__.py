"""The Triton kernels and the program on a GPU: right first, then how fast; one command of at most eight minutes.

    python -m benches.gpu --json gpu.json                 # every section, a short table at the end
    python -m benches.gpu --sections checks times         # these alone
    TRITON_INTERPRET=1 python -m benches.gpu --small      # a rehearsal without a GPU: its times mean nothing

Needs torch, triton, numpy, numba, pillow and this checkout. Each section is on its own: what goes wrong in one is
told, and the next runs, in another process where that one is lost. The JSON is written after each. A section that does
not fit into what is left of the budget is skipped, and told. Kernels are compiled ahead on all cores meanwhile.
"""

import argparse
import json
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benches.gpu.record import Record
from benches.gpu.sections import SECTIONS
from benches.gpu.supervisor import REFUSED, supervise
from benches.gpu.table import lines

BUDGET, SMALL_BUDGET = 480.0, 3600.0


def main(words: Sequence[str] | None = None) -> int:
    """Runs, prints, and writes JSON; exit status 1 where an output is wrong or a section failed."""
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--json", type=Path, help="write all that is found here, after every section")
    reader.add_argument("--budget", type=float, help=f"seconds that it may take (default {BUDGET:.0f})")
    reader.add_argument("--small", action="store_true", help="small sizes and few turns: a rehearsal")
    reader.add_argument("--sections", nargs="+", choices=[one.name for one in SECTIONS], help="these alone")
    reader.add_argument("--until", type=float, help=argparse.SUPPRESS)  # in the process that measures
    chosen = reader.parse_args(words)
    if chosen.json and not chosen.json.absolute().parent.is_dir():
        reader.error(f"--json was {chosen.json}: its folder is not there")
    if chosen.budget is not None and not chosen.budget > 0:
        reader.error(f"--budget was {chosen.budget}: give seconds above 0")
    names = [one.name for one in SECTIONS if not chosen.sections or one.name in chosen.sections]
    if chosen.until:
        return _measure(chosen.json, names, chosen.small, chosen.until)
    with tempfile.TemporaryDirectory() as folder:
        path = (chosen.json or Path(folder) / "gpu.json").absolute()
        end = time.time() + (chosen.budget or (SMALL_BUDGET if chosen.small else BUDGET))
        command = [sys.executable, "-m", "benches.gpu", "--json", str(path), "--until", str(end)]
        record = supervise([*command, *["--small"] * chosen.small], names, path, end)
        print("\n".join(lines(record.content)), flush=True)
        return record.status


def _measure(path: Path, names: Sequence[str], small: bool, end: float) -> int:
    """Runs sections in this process, and leaves the record in the file."""
    from benches.gpu import device as devices
    from benches.gpu.ahead import Ahead
    from benches.gpu.course import Course
    from benches.method import provenance
    from draw_poly.kernels.support import interpreted

    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # what was started is ended then
    record, device = Record.read(path), devices.find()
    if device.type != "cuda" and not (small and interpreted()):
        print("no GPU that torch can use: give --small with TRITON_INTERPRET=1 for a rehearsal", file=sys.stderr)
        return REFUSED
    record.content.setdefault("machine", provenance(device))
    print(json.dumps(record.content["machine"]), flush=True)
    ahead = Ahead(device, names)
    try:
        Course(record, device, small, end, [sys.executable]).run([one for one in SECTIONS if one.name in names], ahead)
    finally:
        record.content["compiled ahead"] = ahead.summary()
        record.write()
        ahead.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
