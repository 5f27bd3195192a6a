from itertools import pairwise

import pytest

from draw_poly.engine.schedule import Schedule


@pytest.mark.parametrize("interval", [1, 2, 7, "log"])
def test_counts_are_those_of_the_epochs_that_have_a_frame(interval: int | str) -> None:
    schedule, seen = Schedule(interval), 0
    assert 0 in schedule
    assert schedule.count(0) == 0
    for epoch in range(1, 3000):
        seen += epoch in schedule
        assert schedule.count(epoch) == seen


@pytest.mark.parametrize("interval", [1, 2, 7, "log"])
def test_the_following_epoch_is_the_first_with_a_frame(interval: int | str) -> None:
    schedule = Schedule(interval)
    epochs = [*range(1200), *range(250_000, 256_000, 101)]
    for epoch in epochs:
        expected = next(later for later in range(epoch + 1, epoch + 10_000) if later in schedule)
        assert schedule.following(epoch) == expected


def test_log_draws_every_epoch_at_first_and_half_a_million_make_a_minute() -> None:
    schedule = Schedule("log")
    drawn = [epoch for epoch in range(500_001) if epoch in schedule]
    assert drawn[:101] == list(range(101))
    assert 59 * 24 < len(drawn) <= 60 * 24
    gaps = [later - earlier for earlier, later in pairwise(drawn)]
    assert gaps[-1] > 2500
    # Ever sparser: rounding apart, no gap is shorter than an earlier one.
    assert all(later >= earlier - 1 for earlier, later in pairwise(gaps))
