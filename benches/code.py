"""A network coded and decoded, beside general compressors of the same weights: `python -m benches.code [CHECKPOINT]`.

Without a checkpoint it is `[10]*8` as it begins, with a predictor `[8, 8]`. All take turns; medians, and bits.
"""

import argparse
import lzma
import zlib
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import torch

from benches.method import Timing, Variant, measure
from draw_poly.engine.code.codec import Code, decode
from draw_poly.engine.code.source import load
from draw_poly.engine.code.weights import Wanted, Weights
from draw_poly.engine.config import Config
from draw_poly.engine.record import checkpoint_file
from draw_poly.engine.training.fresh import fresh_state

TURNS = 15


def begun() -> Weights:
    """Those that a run begins with."""
    config = Config("none", "[10]*8", 1, kolmogorov_shape="[8, 8]", kolmogorov_weight=0.01)
    return Weights.of_state(fresh_state(config, torch.Generator().manual_seed(1)), config.kolmogorov_term)


def timed(weights: Weights, turns: int) -> tuple[Mapping[str, Timing], Mapping[str, int]]:
    """Seconds and bits of each."""
    ways = {"by counts": Wanted("counts")} | ({"by the predictor": Wanted()} if weights.term else {})
    codes: dict[str, Code] = {name: weights.code(wanted) for name, wanted in ways.items()}
    variants = {name: Variant(partial(weights.code, wanted)) for name, wanted in ways.items()}
    variants |= {f"{name}, decoded": Variant(partial(decode, code.content, name)) for name, code in codes.items()}
    symbols = decode(codes["by counts"].content, "code").grid.symbols(weights.parameters).astype(np.uint16).tobytes()
    others = {
        "zlib of the bins": partial(zlib.compress, symbols, 9),
        "lzma of the bins": partial(lzma.compress, symbols),
    }
    variants |= {name: Variant(work) for name, work in others.items()}
    bits = {name: code.bits for name, code in codes.items()}
    bits |= {f"{name}, decoded": code.bits for name, code in codes.items()}
    return measure(variants, turns), bits | {name: 8 * len(work()) for name, work in others.items()}


def main(words: Sequence[str] | None = None) -> int:
    """Prints a line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", nargs="?", help="a checkpoint, or a folder whose newest is taken")
    parser.add_argument("--turns", type=int, default=TURNS, help="turns that each takes")
    options = parser.parse_args(words)
    weights = load(checkpoint_file.newest(options.checkpoint), None).weights if options.checkpoint else begun()
    found, bits = timed(weights, options.turns)
    print(f"{weights.network.size} parameters")
    for name, timing in found.items():
        print(f"{name:<28}{timing.median * 1e3:>10.2f} ms{bits[name]:>10,} bits")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
