"""The packages of kernels hold the same files and functions; what one of them lacks is named here, with the reason."""

import importlib
from pathlib import Path
from types import ModuleType

import pytest

from tests.conftest import INTERPRETED

KERNELS = Path(__file__).parents[2] / "kernels"
PACKAGES = ["reference", "cpu", pytest.param("gpu", marks=INTERPRETED)]
# Of a population each: what a backend is made of.
FUNCTIONS = {"Workspace", "gradient", "total", "update", "evaluate", "evaluate_grid"}
FILES = {"workspace", "gradient", "kolmogorov", "update", "evaluate"}
# Those that not all packages have.
MORE = {
    "validate": {"reference"},  # on a GPU `Validation`, which keeps its scratch; on a CPU the last task of `Training`
    "Validation": {"gpu"},
    "Training": {"cpu"},  # many steps in one call; on a GPU a captured graph
    "Evaluator": {"cpu"},  # prepared once for a network; on a GPU plans are cached
    "Rasterizer": {"cpu"},  # on a GPU every pixel is evaluated, which takes no longer
    "subdivide": {"reference", "cpu"},  # regions hang on each other edge by edge: no work for a GPU's many threads
    "Regions": {"cpu"},  # keeps its memory from one subdivision to the next
}


@pytest.mark.parametrize("name", PACKAGES)
def test_every_package_offers_what_a_backend_is_made_of(name: str) -> None:
    package: ModuleType = importlib.import_module(f"draw_poly.kernels.{name}")
    wanted = FUNCTIONS | {one for one, packages in MORE.items() if name in packages}
    offered = set(package.__all__) & (FUNCTIONS | set(MORE))
    assert offered == wanted
    if name != "reference":  # which others are made of, and which is made of functions of one network
        assert set(package.__all__) == wanted


@pytest.mark.parametrize("name", ["reference", "cpu", "gpu"])
def test_every_package_has_the_same_files(name: str) -> None:
    assert {path.stem for path in (KERNELS / name).glob("*.py")} >= FILES


@pytest.mark.parametrize("function", sorted(FUNCTIONS - {"Workspace"}))
@INTERPRETED
def test_a_function_is_given_the_same_in_every_package(function: str) -> None:
    names: list[list[str]] = []
    for package in ("reference", "cpu", "gpu"):
        code = getattr(importlib.import_module(f"draw_poly.kernels.{package}"), function).__code__
        names.append(list(code.co_varnames[: code.co_argcount]))
    shortest = min(names, key=len)  # a package may take more, behind what all take
    assert [one[: len(shortest)] for one in names] == [shortest] * 3
