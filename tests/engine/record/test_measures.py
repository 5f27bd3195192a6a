import dataclasses

import numpy as np
import pytest

from draw_poly.engine.config import Config
from draw_poly.engine.pictures.caption import caption
from draw_poly.engine.pictures.drawing import Drawing
from draw_poly.engine.record import measures
from draw_poly.engine.record.measures import MEASURES, epoch_lines, frame_line, last_of, of_epochs, of_frame
from draw_poly.engine.record.table import HEADER, row_of, rows_of
from tests.epochs import one_epoch

EPOCH = of_epochs(one_epoch(3))
PLANE = np.zeros((3, 4), np.uint8)
DRAWING = Drawing(PLANE[None], PLANE, PLANE, polytopes=7, lowest=0.0, highest=1.0, evaluations=9)
ROW = {**last_of(EPOCH), **of_frame(DRAWING)}


def test_the_epoch_line_is_the_originals() -> None:
    assert epoch_lines(EPOCH, 20) == [
        "Epoch 3/20 - Combined Loss: 0.750000 (Task: 0.250000 + λ·K: 0.500000), Val Loss: 0.333333"
    ]


def test_a_frames_line_holds_its_counts() -> None:
    assert frame_line(3, of_frame(DRAWING)) == "Frame @ epoch 3: 9 evaluations for 12 pixels, 7 polytopes"


def test_every_measure_has_a_value_and_columns_stand_where_they_say() -> None:
    assert ROW.keys() == {one.name for one in MEASURES if not (one.of_codes or one.tasks)}
    assert [one.column for one in measures.COLUMNS] == list(range(len(measures.COLUMNS)))
    assert HEADER == "epoch,task,kolmogorov,validation,polytopes,seconds,combined,bits,network_bits,coded\n"


def test_a_row_without_a_frame_has_empty_cells_in_its_place() -> None:
    assert row_of(ROW) == "3,0.25,5,0.333333333,7,0.001000,0.75,,,\n"
    assert rows_of(EPOCH) == [row_of(last_of(EPOCH))]
    assert row_of(last_of(EPOCH)) == "3,0.25,5,0.333333333,,0.001000,0.75,,,\n"


def test_a_row_of_a_coded_network_has_its_bits() -> None:
    coded = {"bits": 900, "network_bits": 600, "coded": 0.5}
    assert row_of({**ROW, **coded}) == "3,0.25,5,0.333333333,7,0.001000,0.75,900,600,0.5\n"
    assert rows_of(EPOCH, {3: coded, 9: coded}) == ["3,0.25,5,0.333333333,,0.001000,0.75,900,600,0.5\n"]


def test_a_caption_says_what_is_known() -> None:
    config = Config("x.png", "[10]*4", 100)
    assert caption(config, ROW).lines[:3] == ("Epoch: 3", "Train Loss: 0.7500", "Val Loss: 0.3333")
    assert caption(config, {"epoch": 0}).lines[:3] == ("Epoch: 0", "Train Loss: -", "Val Loss: -")


def test_an_epoch_without_an_attribute_is_told() -> None:
    with pytest.raises(AttributeError):
        of_epochs(dataclasses.make_dataclass("Other", ["first", "last", "task"])(1, 1, np.ones(1)))
