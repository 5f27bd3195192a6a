import math

import numpy as np
from numpy.typing import NDArray

from draw_poly.engine.training.watch import CONSTANT_FRAMES, RECENT, Visits, Watch


def parameters(*values: float) -> NDArray[np.float32]:
    return np.repeat(np.array(values, np.float32), 5)


def test_a_loop_is_seen_at_the_first_repeat_of_all_parameters() -> None:
    watch = Watch()
    assert watch.epoch(1.0, False, parameters(1)) is None
    assert watch.epoch(1.0, False, parameters(2)) is None
    assert watch.epoch(1.0, False, parameters(1, 3)) is None
    assert "loops" in (watch.epoch(1.0, False, parameters(1)) or "")


def test_stagnation_needs_a_worse_loss_and_constant_outputs() -> None:
    def reason(constant: bool, last: float, epochs: int = 30) -> str | None:
        watch = Watch()
        for index in range(epochs):
            assert watch.epoch(1.0 - index * 1e-3, constant, parameters(index)) is None
        return watch.epoch(last, constant, parameters(-1))

    assert "stagnates" in (reason(True, 2.0) or "")
    assert reason(False, 2.0) is None
    assert reason(True, 0.5) is None
    assert reason(True, 2.0, epochs=29) is None
    # Above the minimum but below the means.
    assert reason(True, 1.0 - 28.5e-3) is None


def test_thirty_frames_of_one_value_stop_and_another_value_begins_again() -> None:
    watch = Watch()
    for _ in range(CONSTANT_FRAMES - 1):
        assert watch.frame(0.5, 0.5) is None
    assert watch.frame(0.7, 0.7) is None
    assert watch.frame(0.7, 0.9) is None
    for _ in range(CONSTANT_FRAMES - 1):
        assert watch.frame(0.7, 0.7) is None
    assert "same constant output" in (watch.frame(0.7, 0.7) or "")


def test_nan_is_no_constant() -> None:
    watch = Watch()
    assert all(watch.frame(math.nan, math.nan) is None for _ in range(CONSTANT_FRAMES + 1))


def test_a_stored_watch_goes_on_where_it_was() -> None:
    watch = Watch()
    for index in range(250):
        watch.epoch(float(index), False, parameters(index))
    watch.frame(0.5, 0.5)
    again = Watch.from_dict(watch.to_dict())
    assert again == watch
    assert "loops" in (again.epoch(0.0, False, parameters(3)) or "")


def test_what_is_remembered_does_not_grow_with_epochs() -> None:
    def size(watch: Watch) -> int:
        return sum(len(values) for values in (watch.to_dict()["recent"], watch.to_dict()["losses"]))

    watch = Watch()
    for index in range(RECENT):
        watch.epoch(float(index), False, parameters(index))
    full = size(watch)
    for index in range(RECENT, RECENT + 500):
        assert watch.epoch(float(index), False, parameters(index)) is None
    assert size(watch) == full == RECENT + 200


def test_a_return_within_what_is_remembered_is_told_at_once_and_a_longer_loop_later() -> None:
    for entered, period in (
        (0, 1),
        (5, 1),
        (3, 7),
        (100, RECENT),
        (70, RECENT + 1),
        (20_000, RECENT + 900),
        (9, 40_000),
    ):
        visits, epoch = Visits(), 0
        while not visits.again(epoch if epoch < entered else entered + (epoch - entered) % period):
            epoch += 1
        if period <= RECENT:
            assert epoch == entered + period
        else:
            assert epoch < 3 * max(entered, period) + 1


def test_a_watch_of_format_1_goes_on() -> None:
    stored = {"seen": [5, 1, 9], "losses": [1.0], "constant": None, "constant_frames": 0}
    watch = Watch.from_dict(stored)
    assert watch.visits.again(9)
    assert not watch.visits.again(2)
    assert watch.visits.epochs == 4
