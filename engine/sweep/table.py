"""`members.csv`: a row a member, rewritten whole while a sweep goes on."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from draw_poly.engine.flags import option
from draw_poly.engine.record.disk import write_whole
from draw_poly.engine.sweep.member import DONE, STOPPED, MemberRun
from draw_poly.engine.sweep.vary import Member

LOSSES = ("combined", "task", "kolmogorov", "validation")
CODES = ("network_bits", "coded")  # of the last network that was coded


class MembersTable:
    """The table of a sweep's members."""

    def __init__(self, path: Path, members: Sequence[Member], runs: Sequence[MemberRun]) -> None:
        self._path, self._members, self._runs = path, members, runs

    def write(self, polytopes: Mapping[int, int]) -> None:
        """Writes it whole or not at all. Raises OSError."""
        text = io.StringIO()
        names = list(self._members[0].varied)
        flags = [option(name).removeprefix("--") for name in names]
        rows = csv.writer(text, lineterminator="\n")
        others = ["polytopes", "bits", *CODES, "seconds", "folder", "reason"]
        rows.writerow(["member", *flags, "status", "epochs", *LOSSES, *others])
        for member, run in zip(self._members, self._runs, strict=True):
            losses, codes = (
                [f"{run.row[name]:.9g}" if name in run.row else "" for name in names] for names in (LOSSES, CODES)
            )
            bits = "" if run.bits is None else f"{run.bits:.1f}"
            rows.writerow([
                run.number, *(member.varied.get(name) for name in names), run.status, run.epoch, *losses,
                polytopes.get(run.number, ""), bits, *codes, f"{run.seconds:.6f}", run.folder.name, run.reason,
            ])  # fmt: skip
        write_whole(self._path, text.getvalue().encode(), synced=False)

    def read(self) -> None:
        """Has members be as an earlier process left them who ended by themselves; the others begin again."""
        if not self._path.exists():
            return
        with self._path.open(newline="") as file:
            found = {int(row["member"]): row for row in csv.DictReader(file)}
        for run in self._runs:
            row = found.get(run.number)
            if row is None or row["status"] not in (DONE, STOPPED) or int(row["epochs"]) > run.config.epochs:
                continue
            if row["status"] == DONE and int(row["epochs"]) < run.config.epochs:
                continue  # it is to go on to a later epoch
            run.status, run.epoch, run.reason = row["status"], int(row["epochs"]), row["reason"]
            told = (*LOSSES, *CODES, *(["bits"] if row.get("coded") else []))
            run.row = {name: float(row[name]) for name in told if row.get(name)}
            run.seconds = float(row["seconds"])
