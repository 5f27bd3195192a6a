"""What a user's machine, shell or notebook has set decides nothing about a run."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

import draw_poly.engine.run
from draw_poly.engine.config import Config
from draw_poly.engine.record.plot import plot
from tests.conftest import Program, slow, untimed
from tests.processes import ROOT, begun, words_for

TERM = ["--kolmogorov-shape", "[4]", "--kolmogorov-weight", 0.01]
METRICS = "epoch,task,kolmogorov,validation,polytopes,seconds\n" + "".join(
    f"{epoch},{1 / epoch},0,{2 / epoch},{epoch if epoch % 2 else ''},0.001\n" for epoch in range(1, 30)
)


@pytest.fixture
def sketches() -> None:
    """Plots are drawn here."""


def plots(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in tmp_path.glob("*/results/*/*.png"))


def written(tmp_path: Path) -> list[np.ndarray]:
    """The pixels of both plots, made in this process."""
    (tmp_path / "metrics.csv").write_text(METRICS)
    places = tmp_path / "losses.png", tmp_path / "polytopes.png"
    assert plot(tmp_path / "metrics.csv", tmp_path) == list(places)
    return [np.asarray(Image.open(path)) for path in places]


@pytest.mark.slow
@pytest.mark.parametrize(
    "surroundings",
    [
        {"MPLBACKEND": "module://matplotlib_inline.backend_inline", "HOME": "home", "XDG_CONFIG_HOME": ""},
        {"MPLBACKEND": "nonsense", "MATPLOTLIBRC": "rc", "PYTHONWARNINGS": "error"},
        {"MATPLOTLIBRC": "broken", "LC_ALL": "C"},
    ],
)
def test_plots_look_the_same_whatever_matplotlib_is_told(tmp_path: Path, surroundings: dict[str, str]) -> None:
    expected = written(tmp_path)
    settings = "text.usetex: True\nfont.family: nonsense\nbackend: nonsense\nsavefig.format: tiff\nfigure.dpi: 5\n"
    (tmp_path / "rc").write_text(settings)
    (tmp_path / "broken").write_bytes(b"font.family: \xff\xfe\n")
    (tmp_path / "home" / ".config" / "matplotlib").mkdir(parents=True)
    (tmp_path / "home" / ".config" / "matplotlib" / "matplotlibrc").write_text(settings)
    paths = {name: str(tmp_path / value) for name, value in surroundings.items() if name in ("MATPLOTLIBRC", "HOME")}
    (tmp_path / "other").mkdir()
    names = [str(tmp_path / name) for name in ("metrics.csv", "other")]
    code = (
        "import sys; from pathlib import Path; from draw_poly.engine.record.plot import plot\n"
        "plot(*map(Path, sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *names], env={**os.environ, **surroundings, **paths, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    for pixels, name in zip(expected, ("losses.png", "polytopes.png"), strict=True):
        assert np.array_equal(np.asarray(Image.open(tmp_path / "other" / name)), pixels)


def test_a_notebooks_own_settings_of_matplotlib_neither_count_nor_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = written(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "pdf")
    with matplotlib.rc_context({"text.usetex": True, "axes.facecolor": "black", "lines.linewidth": 9.0}):
        before = dict(matplotlib.rcParams)
        for pixels, again in zip(expected, written(tmp_path), strict=True):
            assert np.array_equal(pixels, again)
        assert dict(matplotlib.rcParams) == before
    assert os.environ["MPLBACKEND"] == "pdf"
    assert "MATPLOTLIBRC" not in os.environ


@pytest.mark.parametrize("failing", ["import", "write", "unforeseen"])
def test_plots_that_cannot_be_made_are_a_warning_and_leave_the_old_ones(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    def broken(self: FigureCanvasAgg, path: Path, **words: object) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device", str(path)) if failing == "write" else RuntimeError("no latex")

    if failing == "import":
        monkeypatch.setitem(sys.modules, "matplotlib", None)
    else:
        monkeypatch.setattr(FigureCanvasAgg, "print_png", broken)
    outcome = program("--seed", 1)
    if failing == "write":  # a file that cannot be written is a failure of the run, whatever file it is
        assert outcome.status == 3, outcome.log
        assert "ERROR - While finishing: " in outcome.log
        assert "losses.png cannot be written (No space left on device)" in outcome.log
    else:
        assert outcome.status == 0, outcome.log
        assert "=== Training completed successfully ===" in outcome.log
        (line,) = [line for line in outcome.log.splitlines() if "WARNING" in line]
        assert "Plots are not made (" in line
        assert {"import": "ModuleNotFoundError", "unforeseen": "RuntimeError: no latex"}[failing] in line
    (folder,) = (tmp_path / "out" / "results").glob("*/")
    there = sorted(path.name for path in folder.iterdir())
    assert there == ["config.json", "metrics.csv", "networks.bin", "regions.csv"]
    monkeypatch.undo()
    assert program("--seed", 1, "-e", 5, "--resume", tmp_path / "out" / "results").status == 0
    assert plots(tmp_path) == ["losses.png", "polytopes.png"]


def test_numbers_that_numpy_is_to_raise_at_do_not_end_a_run(program: Program, tmp_path: Path) -> None:
    with np.errstate(all="raise"), warnings.catch_warnings():
        warnings.simplefilter("error")
        outcome = program("--seed", 1, *TERM, "--smoothing-sigma", 0.3, "--snapshot-format", "jpg", "-p", 3)
        assert np.geterr() == dict.fromkeys(("divide", "over", "under", "invalid"), "raise")
    assert outcome.status == 0, outcome.log
    assert plots(tmp_path) == ["losses.png", "polytopes.png"]


# Without docstrings and assertions every kernel is compiled anew.
@pytest.mark.parametrize("more", [{}, slow({"PYTHONOPTIMIZE": "2"})])
def test_a_run_is_the_same_in_the_oddest_of_shells(
    program: Program, tmp_path: Path, small_image: Path, more: dict[str, str]
) -> None:
    plain = program("--seed", 1, *TERM)
    assert plain.status == 0, plain.log
    odd = {
        "LC_ALL": "C",
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONUTF8": "0",
        "PYTHONIOENCODING": "ascii",
        "PYTHONWARNINGS": "error",
        "PYTHONHASHSEED": "7",
        "MPLBACKEND": "nonsense",
        "COLUMNS": "many",
        "LINES": "0",
        "TERM": "nonsense",
        "TZ": "nonsense",
    }
    words = words_for(small_image, tmp_path / "odd" / "results", "-e", 4, *TERM)
    done = begun(words, environment={**odd, **more})
    said = done.communicate()[1]
    assert done.returncode == 0, said
    assert said.isascii()
    assert "WARNING" not in said
    tables = [next((tmp_path / place / "results").glob("*/metrics.csv")) for place in ("out", "odd")]
    assert untimed(tables[0]) == untimed(tables[1])
    epochs = [line.split(" - INFO - ")[1] for line in said.splitlines() if " - INFO - Epoch " in line]
    theirs = [line.split(" - INFO - ")[1] for line in plain.log.splitlines() if " - INFO - Epoch " in line]
    assert epochs == [line.encode("ascii", "backslashreplace").decode() for line in theirs]
    assert len(list((tmp_path / "odd").rglob("polytopes.png"))) == 1


def test_a_librarys_warning_is_no_error_of_a_run(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    real = draw_poly.engine.run.run

    def warns(config: Config) -> int:
        warnings.warn("`torch.jit.script` is deprecated", DeprecationWarning, stacklevel=1)
        return real(config)

    monkeypatch.setattr(draw_poly.engine.run, "run", warns)
    monkeypatch.setattr(sys, "warnoptions", ["error"])
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("error")
        outcome = program("--seed", 1, "-e", 1)
    assert outcome.status == 0, outcome.log
    assert "`torch.jit.script` is deprecated" in [str(warning.message) for warning in heard]


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["compile", "cpu"])
def test_every_backend_begins_where_warnings_are_errors(tmp_path: Path, small_image: Path, backend: str) -> None:
    """With nothing kept from before, as a first run has it."""
    caches = {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "torch"), "NUMBA_CACHE_DIR": str(tmp_path / "numba")}
    words = words_for(small_image, tmp_path / "results", "-e", 1, "--backend", backend)
    odd = {"PYTHONWARNINGS": "error", "PYTHONOPTIMIZE": "2", "MPLBACKEND": "nonsense"}
    done = begun(words, environment={**caches, **odd})
    said = done.communicate()[1]
    assert done.returncode == 0, said
