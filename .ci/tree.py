"""The tree in CONTRIBUTING.md, a line a file: `python .ci/tree.py` writes it anew, with `--check` says if it is old."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
GUIDE = ROOT / "CONTRIBUTING.md"
BEGIN, END = "<!-- tree: python .ci/tree.py -->", "<!-- end of tree -->"
FOLDERS = ("engine", "kernels", "benches", "tests")


def lines(folder: Path, depth: int) -> Iterator[str]:
    """A line for each file and folder in a folder, folders last."""
    files = sorted(path for path in folder.glob("*.py") if path.name != "__init__.py")
    for path in files:
        if folder.parts[len(ROOT.parts) :][:1] != ("tests",) or not path.name.startswith("test_"):
            yield line(path, path.name, depth)
    for inner in sorted(path for path in folder.iterdir() if any(path.glob("**/*.py"))):
        yield line(inner / "__init__.py", f"{inner.name}/", depth)
        yield from lines(inner, depth + 1)


def line(path: Path, name: str, depth: int) -> str:
    """A file's name, and the first line of what it says of itself."""
    said = (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n")[0] if path.exists() else ""
    return f"{'  ' * depth}{name:<{24 - 2 * depth}} {said}".rstrip()


def tree() -> str:
    """All of it, between its marks."""
    found = [line(ROOT / name, name, 0) for name in ("__init__.py", "cli.py")]
    for name in FOLDERS:
        found += [line(ROOT / name / "__init__.py", f"{name}/", 0), *lines(ROOT / name, 1)]
    return "\n".join([BEGIN, "```", *found, "```", END])


def main(words: list[str]) -> int:
    """Exit status 1 where the guide has another tree and is only looked at."""
    text = GUIDE.read_text()
    before, _, rest = text.partition(BEGIN)
    new = before + tree() + rest.partition(END)[2]
    if new == text:
        return 0
    if "--check" in words:
        print("CONTRIBUTING.md has an old tree: run `python .ci/tree.py`", file=sys.stderr)
        return 1
    GUIDE.write_text(new)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
