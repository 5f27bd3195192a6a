"""A run of `pytest benches` as tables and plots, as the README's figures, or against another run.

python -m benches.report                            # the last run, or the one that is kept, as Markdown
python -m benches.report run.json
python -m benches.report --readme                   # keep that run: results/, and the README's table
python -m benches.report --compare before.json after.json    # exit status 1 if something became slower
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benches.compare import comparison, differing_machines, seconds
from benches.contenders import ENTRIES, ORIGINAL
from benches.figures import Record, Run, keep, read
from benches.method import ROOT, growth, ratio

RESULTS = ROOT / "benches" / "results"
LAST, KEPT = RESULTS / "suite.local.json", RESULTS / "suite.json"
BEGIN, END = "<!-- figures: python -m benches.report --readme -->", "<!-- end of figures -->"

MEMORY = {"peak_resident_bytes": "peak resident", "peak_device_bytes": "peak on the device"}


def main(words: Sequence[str] | None = None) -> int:
    """Prints Markdown; exit status 2 for files that cannot be read or compared."""
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("file", type=Path, nargs="?", help="a run's JSON (default: the last one, else the kept one)")
    reader.add_argument("--readme", action="store_true", help="keep the run, and write its table into the README")
    reader.add_argument("--compare", type=Path, nargs=2, metavar=("BEFORE", "AFTER"), help="two runs' JSON")
    chosen = reader.parse_args(words)
    source = chosen.file or (LAST if LAST.exists() else KEPT)
    try:
        if chosen.compare:
            before, after = (read(path) for path in chosen.compare)
            if reason := differing_machines(before, after):
                print(reason, file=sys.stderr)
                return 2
            text, slower = comparison(before, after)
            print(text)
            return int(slower > 0)
        run = read(source)
    except (OSError, ValueError) as error:
        print(f"report: {error}", file=sys.stderr)
        return 2
    print(whole(run))
    if chosen.readme:
        if disturbed := {group: share for group, share in run.disturbed().items() if group in run.groups()}:
            print(f"report: nothing was kept: {busy(disturbed)}", file=sys.stderr)
            return 2
        from benches import plots

        if source.resolve() != KEPT.resolve():
            keep(source, KEPT)
        plots.bars(run, RESULTS / "contenders.png")
        pictures = "![contenders](contenders.png)\n"
        if run.axes():
            plots.lines(run, RESULTS / "growth.png")
            pictures += "\n![growth](growth.png)\n"
        (RESULTS / "report.md").write_text(f"{whole(run)}\n\n{pictures}")
        readme = ROOT / "README.md"
        readme.write_text(inserted(readme.read_text(), summary(run)))
    return 0


def inserted(text: str, table: str) -> str:
    """The README with the table between its markers. Raises ValueError where it has none."""
    before, found, rest = text.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not (found and ended):
        raise ValueError(f"the README has no lines {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


def whole(run: Run) -> str:
    """Every group and axis, and what was measured on."""
    parts = ["# Figures", machine(run)]
    for title, records in run.groups().items():
        parts += [f"## {title[0].upper()}{title[1:]}", group_table(records)]
    for axis, lines in run.axes().items():
        parts += [f"## Growth with {axis}", axis_table(lines)]
    if rows := late_rows(run):
        parts += ["## Late states against fresh ones", late_table(rows)]
    if disturbed := run.disturbed():
        parts += ["## Disturbed", busy(disturbed)]
    if absent := run.provenance["absent"]:
        parts += ["## Not here", "\n".join(f"- {name}: {reason}" for name, reason in absent.items())]
    return "\n\n".join(parts)


def busy(disturbed: dict[str, float]) -> str:
    """Which groups are not to be trusted, and what to do."""
    found = ", ".join(f"{group} ({share:.0%})" for group, share in disturbed.items())
    return f"the machine was busy otherwise, its own product at a share of its rate, in: {found}; measure again"


def machine(run: Run) -> str:
    """Machine, versions and commit, in a sentence each."""
    facts = run.provenance
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    where = "" if facts["device"] == "cpu" else f"{facts['device']}, "
    return (
        f"{where}{facts['processor']}, {facts['cores']} cores, {facts['threads']} threads; {facts['system']}, "
        f"Python {facts['python']}, {versions}; commit {facts['commit']}, {facts['time']}, {facts['mode']} mode."
    )


def group_table(records: Sequence[Record]) -> str:
    """Contenders, fastest first."""
    original = next((record for record in records if record.contender == ORIGINAL), None)
    notes = {key: title for key, title in MEMORY.items() if any(key in record.info for record in records)}
    titles = ["contender", "median", "half of turns within", "against the original's way", "times the limit"]
    titles += ["first call", "threads", *notes.values()]
    rows = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for record in sorted(records, key=lambda one: one.timing.median):
        low, high = record.spread
        cells = [
            record.contender, seconds(record.timing.median), f"{seconds(low)} to {seconds(high)}",
            _times(original, record), f"{record.timing.median / record.limit:.1f}", seconds(record.timing.first),
            str(record.timing.threads),
        ]  # fmt: skip
        cells += [f"{record.info[key] / 2**20:.0f} MiB" if key in record.info else "" for key in notes]
        rows.append(f"| {' | '.join(cells)} |")
    rows.append(f"\nThe machine's limit: {seconds(records[0].limit)}.")
    if "GFLOP/s" in records[0].info:
        rates = records[0].info
        rows[-1] += f" Its float32 product ran at {rates['GFLOP/s']:.0f} GFLOP/s, its copy at {rates['GB/s']:.1f} GB/s."
    return "\n".join(rows)


def axis_table(lines: dict[str, list[tuple[int, Record]]]) -> str:
    """A row a size, a column a contender, the exponents last."""
    names = list(lines)
    sizes = sorted({size for line in lines.values() for size, _ in line})
    rows = [f"| | {' | '.join(names)} | limit |", "|---" * (len(names) + 2) + "|"]
    by_size = {name: dict(line) for name, line in lines.items()}
    for size in sizes:
        here = [by_size[name].get(size) for name in names]
        limit = next(record.limit for record in here if record)
        cells = [seconds(record.timing.median) if record else "" for record in here]
        rows.append(f"| {size} | {' | '.join(cells)} | {seconds(limit)} |")
    powers = [_power([(size, record.timing.median) for size, record in line]) for line in lines.values()]
    powers.append(_power([(size, record.limit) for size, record in next(iter(lines.values()))]))
    rows.append(f"| grows with the power | {' | '.join(powers)} |")
    return "\n".join(rows)


def late_rows(run: Run) -> list[tuple[Record, Record]]:
    """Each contender's work on a late state, with the same on a fresh one."""
    found = {(record.group, record.contender): record for record in run.records}
    pairs = [(one, found.get((one.info.get("fresh", ""), one.contender))) for one in run.records]
    return [(late, fresh) for late, fresh in pairs if fresh]


def late_table(rows: Sequence[tuple[Record, Record]]) -> str:
    """A row a contender and work: fresh, late, and how many times as long that is."""
    lines = ["| | contender | fresh | late | times as long |", "|---|---|---|---|---|"]
    for late, fresh in rows:
        medians = fresh.timing.median, late.timing.median
        cells = [fresh.group, late.contender, *map(seconds, medians), f"{medians[1] / medians[0]:.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def summary(run: Run) -> str:
    """The README's: a row a group, a column a contender, the fastest in bold."""
    groups = run.groups()
    present = {record.contender for records in groups.values() for record in records}
    names = [name for name in ENTRIES if name in present]
    lines = [f"| | {' | '.join(names)} | the machine's limit |", "|---" * (len(names) + 2) + "|"]
    for title, records in groups.items():
        found = {record.contender: record for record in records if record.contender in names}
        best = min(record.timing.median for record in found.values())
        cells = []
        for name in names:
            record = found.get(name)
            if record is None:
                cells.append("")
                continue
            cell = seconds(record.timing.median)
            cell = f"**{cell}**" if record.timing.median == best else cell
            against = _times(found.get(ORIGINAL), record)
            cells.append(f"{cell} ({against})" if against and name != ORIGINAL else cell)
        lines.append(f"| {title} | {' | '.join(cells)} | {seconds(records[0].limit)} |")
    return "\n".join([*lines, "", machine(run)])


def _times(original: Record | None, record: Record) -> str:
    """How many times as fast as the original's way, by the median over turns that both took."""
    if original is None:
        return ""
    found = ratio(original.timing.rounds, record.timing.rounds)
    return f"{found:.0f} x" if found >= 10 else f"{found:.2g} x"


def _power(pairs: Sequence[tuple[int, float]]) -> str:
    return f"{growth(*zip(*pairs, strict=True)):.2f}" if len(pairs) > 1 else ""


if __name__ == "__main__":
    sys.exit(main())
