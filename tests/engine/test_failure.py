"""A failure as a sentence says what is the matter, not what was met by chance."""

import errno
import os

import pytest

from draw_poly.engine.failure import explain


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
def test_too_many_open_files_are_no_fault_of_the_one_that_is_named(number: int) -> None:
    sentence = explain(OSError(number, os.strerror(number), "/usr/share/fonts/a.ttf"))
    assert sentence == f"too many files are open at once ({os.strerror(number)}): allow more, such as by ulimit -n 256"
