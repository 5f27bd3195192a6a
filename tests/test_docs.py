"""The pages of the API name what there is; that all of them are built without a warning is `.ci/run`'s to say."""

import importlib
import re
from typing import Any

import pytest

import draw_poly
from tests.processes import ROOT

PAGES = sorted((ROOT / "docs").glob("*.md"))
NAMED = re.findall(r"^::: (\S+)", "".join(path.read_text() for path in PAGES), re.MULTILINE)


def found(name: str) -> Any:
    """A module, or what one of them has by a name."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        module, _, last = name.rpartition(".")
        return getattr(found(module), last)


@pytest.mark.parametrize("name", NAMED)
def test_what_a_page_names_is_there_and_says_what_it_is(name: str) -> None:
    assert found(name).__doc__


def test_all_that_the_package_offers_is_on_a_page() -> None:
    assert {name.rpartition(".")[2] for name in NAMED} >= set(draw_poly.__all__) - {"RegionSet"}


def test_every_page_is_in_the_contents() -> None:
    contents = (ROOT / "mkdocs.yml").read_text()
    assert NAMED
    for path in PAGES:
        assert f": {path.name}\n" in contents
