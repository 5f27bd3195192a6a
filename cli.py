"""The command line: flags to a `Config`, help, exit status."""

import sys

INTERRUPTED = 130

try:
    import argparse
    import dataclasses
    import importlib
    import os
    import signal
    import warnings
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any, NoReturn

    from draw_poly.engine import __version__
    from draw_poly.engine.code.options import CodeOptions
    from draw_poly.engine.config import FIELDS, Config, ConfigError
    from draw_poly.engine.flags import Flag, code_interval, option, region_interval, save_interval, shortened
    from draw_poly.engine.regions.options import RegionsOptions, numbers
    from draw_poly.engine.signals import Abandoned, interrupt_at_once
    from draw_poly.engine.sweep.options import Options
    from draw_poly.engine.view.options import ExportOptions, ViewOptions
except KeyboardInterrupt:
    print("draw-poly: interrupted", file=sys.stderr)
    sys.exit(INTERRUPTED)
except ModuleNotFoundError as error:
    if error.name is None or error.name.partition(".")[0] != "draw_poly":
        raise
    print("draw-poly: it is not installed for this Python: run `pip install -e .` in its folder first", file=sys.stderr)
    sys.exit(2)

DESCRIPTION = "Train a small network to draw an image, and film the polytopes that it cuts the image into."
EXIT_STATUS = """\
exit status:
  0    trained to the last epoch
  1    stopped early: nothing more to learn, or a loss that is not finite
  2    bad input: nothing was done
  3    failed in mid-run, such as by a full disk; a checkpoint was saved if it could be
  130  interrupted (Ctrl-C), 143 terminated, 129 its terminal was closed; a checkpoint was saved,
       unless a third Ctrl-C within a second ended even that
"""
BAD_INPUT = 2
# First words that are a command of their own; all else trains. Of each its options, its module and what it does.
COMMANDS: dict[str, tuple[Any, str, str]] = {
    "regions": (
        RegionsOptions, "draw_poly.engine.regions.command",
        "The exact linear regions of a checkpoint's network, as SVG, arrays, GeoJSON and tables.",
    ),
    "code": (
        CodeOptions, "draw_poly.engine.code.command",
        "A checkpoint's network as a file of few bits, beside what else could tell the same; such a file decoded.",
    ),
    "view": (
        ViewOptions, "draw_poly.engine.view.command",
        "The explorer of a run or a sweep, in a browser: its regions at any zoom and epoch, also while it trains.",
    ),
    "export": (
        ExportOptions, "draw_poly.engine.view.standalone",
        "A run's explorer as one HTML file, which needs no server and no network.",
    ),
}  # fmt: skip
WHAT_IT_IS: dict[object, str] = {
    int: "a whole number",
    float: "a number",
    save_interval: "a whole number or log",
    code_interval: "a whole number or off",
    region_interval: "every, frames, off or a whole number",
    numbers: "numbers with commas between",
}


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, without the usage before it; once, however many processes read the words."""

    def _print_message(self, message: str, file: Any = None) -> None:
        if _speaks():
            super()._print_message(message, file)

    def error(self, message: str) -> NoReturn:
        """See `argparse.ArgumentParser.error`."""
        self.exit(BAD_INPUT, f"{self.prog}: {message}\n")


def _speaks() -> bool:
    return os.environ.get("WORLD_SIZE", "1") == "1" or os.environ.get("RANK", "0") == "0"


def parser() -> Parser:
    """The parser of every field of `Config`, in the groups that they name."""
    others = "\n".join(f"  draw-poly {name:<10} {description}" for name, (_, _, description) in COMMANDS.items())
    whole = Parser(
        "draw-poly", description=DESCRIPTION, epilog=f"other commands:\n{others}\n\n{EXIT_STATUS}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    whole.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    _add(whole, (*FIELDS, *dataclasses.fields(Options)))
    return whole


def command_parser(name: str) -> Parser:
    """The parser of a command of its own: its first field is no flag but the word that follows."""
    options, _, description = COMMANDS[name]
    whole = Parser(f"draw-poly {name}", description=description)
    first, *others = dataclasses.fields(options)
    words, given = first.metadata["flag"], first.default is dataclasses.MISSING
    default = "" if given else f" (default {first.default})"
    optional: dict[str, Any] = {} if given else {"nargs": "?", "default": first.default}
    whole.add_argument(
        first.name, metavar=words.metavar, help=f"{words.help}{default}; e.g. {words.example}", **optional
    )  # fmt: skip
    _add(whole, others)
    return whole


def _add(whole: Parser, items: Iterable[dataclasses.Field[Any]]) -> None:
    """Adds the flags that fields of settings are."""
    groups: dict[str, Any] = {}
    for item in items:
        flag: Flag = item.metadata["flag"]
        group = groups.setdefault(flag.group, None) or whole.add_argument_group(flag.group)
        groups[flag.group] = group
        required = item.default is dataclasses.MISSING
        names = [f"-{flag.short}"] * bool(flag.short) + [option(item.name)]
        shown = " ".join(map(str, item.default)) if isinstance(item.default, tuple) else item.default
        default = "" if required or item.default in (None, False) else f" (default {shown})"
        words: dict[str, Any] = {"dest": item.name, "help": f"{flag.help}{default}; e.g. {flag.example}"}
        if flag.kind is bool:
            both = argparse.BooleanOptionalAction if item.default else "store_true"
            words |= {"action": both, "default": argparse.SUPPRESS}
        else:
            words |= {"type": _reader(flag.kind), "choices": flag.choices, "required": required}
            words |= {"metavar": flag.metavar, "default": argparse.SUPPRESS}
            words |= {"nargs": "+"} if flag.several else {}
            words |= {"action": "append"} if flag.repeated else {}
            words |= {"nargs": "?", "const": flag.bare} if flag.bare else {}
        group.add_argument(*names, **words)


def _reader(kind: Callable[[str], Any]) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        try:
            return kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{shortened(text)!r} was given: give {WHAT_IT_IS[kind]}") from None

    return read


def main(words: Sequence[str] | None = None) -> int:
    """Runs the program on these words, or on the command line's; returns the exit status, or exits with it."""
    typed = list(sys.argv[1:] if words is None else words)
    command = typed[0] if typed[:1] and typed[0] in COMMANDS else None
    whole = command_parser(command) if command else parser()
    interrupted = f"{whole.prog}: interrupted\n"
    if words is None:
        interrupt_at_once(interrupted if _speaks() else "")
    if any(option.startswith("error") for option in sys.warnoptions):
        # What a library warns its authors of, this program's user can do nothing about.
        warnings.simplefilter("default")
    try:
        if command:
            kind, module, _ = COMMANDS[command]
            options = kind(**vars(whole.parse_args(typed[1:])))
            return int(importlib.import_module(module).run(options))
        given = vars(whole.parse_args(typed))
        names = [item.name for item in dataclasses.fields(Options)]
        many = Options(**{name: given.pop(name) for name in names if name in given})
        if many:
            from draw_poly.engine.sweep.sweep import sweep

            return sweep(given, many)
        config = Config(**given)
        # torch takes most of a second: not spent on a flag that is wrong
        from draw_poly.engine.run import run

        return run(config)
    except ConfigError as error:
        whole.error(str(error))
    except Abandoned as error:
        whole.exit(128 + error.number, f"{whole.prog}: {error}\n")
    except KeyboardInterrupt:
        whole.exit(INTERRUPTED, interrupted)
    finally:
        if words is None:  # what is left is the interpreter's own end
            signal.signal(signal.SIGINT, signal.SIG_IGN)


if __name__ == "__main__":
    sys.exit(main())
