"""A network coded and decoded is the same to the bit, in whatever process; what is damaged is refused in a sentence."""

import hashlib
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from draw_poly.engine.code.codec import Code, decode, length_by_counts
from draw_poly.engine.code.container import Alphabet, Header, packed
from draw_poly.engine.code.grid import Grid
from draw_poly.engine.code.range_coder import CodeError
from draw_poly.engine.code.weights import Wanted, Weights
from draw_poly.engine.config import ConfigError
from draw_poly.kernels.spec import KOLMOGOROV_LOSSES, KolmogorovTerm, Network
from tests.conftest import GOLDEN
from tests.engine.code.networks import CHECKPOINTS, LOSSES, draw, golden
from tests.processes import ROOT

# What these files must decode to, for ever and everywhere.
DIGESTS = {
    "counts": "43e709769139cd9066bb4848239adf385ca490c61e580a37e01d717d9833e102",
    "cross_entropy": "e21f515ecbf7b0bc95c823982c23092ad296f3c98b78342848405925c5bec2ce",
    "gaussian_nll": "6ec83e0aa0691ccd63e3a5ba13924c479260e43e2ea676452c1c84f3707b1c6f",
    "laplacian_nll": "b8c0d40c2331d1c68e96c1e2b8a344c5d1df8b0feedf6fa5f22c0e08f6e8c660",
}
DECODE = """
import hashlib, sys
from pathlib import Path
from draw_poly.engine.code.codec import decode
for name in sys.argv[1:]:
    print(hashlib.sha256(decode(Path(name).read_bytes(), name).parameters.tobytes()).hexdigest())
"""


def digest(parameters: np.ndarray) -> str:
    return hashlib.sha256(parameters.tobytes()).hexdigest()


def same(weights: Weights, code: Code) -> Grid:
    """Decodes a code, and looks at all that it says. Returns its grid."""
    found = decode(code.content, "file")
    grid = found.grid
    assert found.network == weights.network
    assert found.parameters.tobytes() == code.parameters.tobytes()
    assert code.parameters.dtype == np.float32
    clipped = np.clip(weights.parameters, grid.low, grid.high)
    step = (grid.high - grid.low) / (grid.bins - 1)
    assert np.abs(code.parameters - clipped).max() <= 0.5 * step + np.spacing(np.float32(np.abs(clipped).max()))
    assert code.bits == code.header + code.predictor + code.network
    assert code.ideal <= code.bits - code.header <= code.ideal + 64
    return grid


@pytest.mark.parametrize("path", CHECKPOINTS, ids=lambda path: path.stem)
@pytest.mark.parametrize("wanted", [Wanted(), Wanted("counts"), Wanted("counts", 300, -0.5, 0.75)])
def test_every_golden_checkpoint_comes_back(path: Path, wanted: Wanted) -> None:
    weights = golden(path.stem)
    code = weights.code(wanted, (31, 70_000))
    grid = same(weights, code)
    assert decode(code.content, "file").size == (31, 70_000)
    assert (code.told is not None) == (weights.term is not None and wanted.by is None)
    if code.told:
        assert weights.term is not None
        assert (grid.bins, grid.low, grid.high) == (weights.term.bins, weights.term.low, weights.term.high)
    if wanted.bins:
        assert (grid.bins, grid.low, grid.high) == (300, -0.5, 0.75)


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(
    st.integers(0, 2**31), st.sampled_from((None, *LOSSES)), st.sampled_from((2, 3, 64, 300)),
    st.lists(st.integers(1, 9), min_size=1, max_size=4), st.sampled_from((0.0, 0.01, 0.3)),
)  # fmt: skip
def test_random_networks_come_back(seed: int, loss: str | None, bins: int, hidden: list[int], slope: float) -> None:
    weights = draw(seed, loss, bins, tuple(hidden), slope)
    wanted = Wanted() if loss == "cross_entropy" else Wanted(bins=bins)
    assert same(weights, weights.code(wanted)).bins == bins


def test_one_value_alone_is_a_network_too() -> None:
    for value in (0.0, -3.25, 1e30):
        network = Network((2, 3, 1))
        weights = Weights(network, np.full(network.size, value))
        same(weights, weights.code())


@pytest.mark.parametrize("name", DIGESTS)
def test_files_of_this_version_decode_to_what_they_were(name: str) -> None:
    path = GOLDEN / "code" / f"{name}.poly"
    assert digest(decode(path.read_bytes(), name).parameters) == DIGESTS[name]


def test_another_process_decodes_the_same_bits(tmp_path: Path) -> None:
    expected, paths = [], []
    for loss in (None, *LOSSES):
        code = draw(7, loss).code()
        paths.append(tmp_path / f"{loss}.poly")
        paths[-1].write_bytes(code.content)
        expected.append(digest(code.parameters))
    words = [sys.executable, "-c", DECODE, *map(str, paths)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == expected


@pytest.mark.parametrize("loss", [None, "cross_entropy", "laplacian_nll"])
def test_every_truncation_and_every_other_byte_is_refused(loss: str | None) -> None:
    content = draw(5, loss, 16, (3,)).code().content
    for end in range(len(content)):
        with pytest.raises(CodeError, match=r"^x is (no .poly file|cut off|damaged or cut off)"):
            decode(content[:end], "x")
    generator = np.random.default_rng(1)
    for place in range(len(content)):
        spoilt = bytearray(content)
        spoilt[place] ^= int(generator.integers(1, 256))
        with pytest.raises(CodeError, match=r"^x (is|has)") as raised:
            decode(bytes(spoilt), "x")
        assert "\n" not in str(raised.value)
    with pytest.raises(CodeError, match="damaged"):
        decode(content + b"\0", "x")
    with pytest.raises(CodeError, match="has version 2: this program reads version 1"):
        decode(content[:4] + b"\2" + content[5:], "x")


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(st.binary(max_size=80))
def test_a_file_that_nobody_wrote_is_refused_whatever_its_checksum(body: bytes) -> None:
    content = b"poly\1" + struct.pack("<I", zlib.crc32(body)) + body
    try:
        decode(content, "x")
    except ConfigError as error:
        assert "\n" not in str(error)  # noqa: PT017


@pytest.mark.parametrize(
    "alphabet",
    [
        Alphabet("categorical", (4,), 3, -(2**40), 2**41),
        Alphabet("categorical", (4,), 60, -4, 9),
        Alphabet("gaussian", (2**17,), 3, -4, 9),
        Alphabet("gaussian", (0,), 3, -4, 9),
        Alphabet("gaussian", (), 3, -4, 9),
    ],
)
def test_a_predictor_that_nobody_trained_is_refused(alphabet: Alphabet) -> None:
    content = packed(Header(Network((2, 3, 1)), Grid(16, -1, 1), predictor=alphabet), bytes(64))
    with pytest.raises(CodeError):
        decode(content, "x")


def test_a_network_larger_than_memory_is_refused() -> None:
    content = packed(Header(Network((2, 2**30, 2**30, 1)), Grid(16, -1, 1)), bytes(64))
    with pytest.raises(ConfigError, match="needs about"):
        decode(content, "x")


def test_the_predictor_takes_as_many_bits_as_make_the_file_shortest() -> None:
    weights = golden("original_kolmogorov")
    assert weights.term is not None
    code = weights.code()
    grid = Grid(weights.term.bins, weights.term.low, weights.term.high)
    symbols = grid.symbols(weights.parameters)
    trained = weights._trained(weights.term, grid)
    totals = {}
    for fraction in range(10):
        predictor = trained.rounded(fraction)
        assert predictor is not None
        least = predictor.weights.min()
        bits = length_by_counts(predictor.network, int(np.ptp(predictor.weights)) + 1, predictor.weights - least)
        tables = np.concatenate(list(predictor.frequencies(weights.network, grid.bins)))
        totals[fraction] = bits - np.log2((tables[np.arange(symbols.size), symbols] + 1) / 2**24).sum()
    assert code.told is not None
    assert totals[code.told.fraction] == min(totals.values()) == pytest.approx(code.ideal)


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (Wanted(bins=100), "leave --bins"),
        (Wanted(low=-1.0), "leave --bins"),
        (Wanted("counts", low=1.0, high=0.5), "give two numbers that ascend"),
    ],
)
def test_bins_that_a_predictor_does_not_know_are_refused(wanted: Wanted, said: str) -> None:
    with pytest.raises(CodeError, match=said):
        draw(1, "cross_entropy").code(wanted)


def test_what_has_no_code_is_refused() -> None:
    weights = draw(1, None)
    with pytest.raises(CodeError, match="has none: train with --kolmogorov-shape"):
        weights.code(Wanted("predictor"))
    weights.parameters[3] = np.inf
    with pytest.raises(CodeError, match="not finite"):
        weights.code()
    for value, said in ((np.nan, "not finite"), (1e9, "too large")):
        predicted = draw(1, "gaussian_nll")
        assert predicted.predictor is not None
        predicted.predictor[2] = value
        with pytest.raises(CodeError, match=said):
            predicted.code()


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "constriction", None)
    with pytest.raises(CodeError, match=r"pip install 'draw-poly\[code\]'"):
        draw(1, None).code()


def test_the_estimate_is_the_term() -> None:
    assert set(KOLMOGOROV_LOSSES) == set(LOSSES)
    weights = draw(2, "gaussian_nll")
    assert isinstance(weights.term, KolmogorovTerm)
    coarse, fine = (weights.estimate(Grid(bins, -2.0, 1.5)) for bins in (101, 201))
    assert coarse is not None
    assert fine == pytest.approx(coarse + weights.network.size)  # twice the bins, a bit more each
