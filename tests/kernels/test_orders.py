"""Orders of points are PyTorch's, number for number."""

import pytest
import torch

from draw_poly.kernels import orders
from draw_poly.kernels.orders import LIMIT

SEEDS = (0, 1, 2, 623, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**32 + 5, 2**63 - 1, -1, -(2**63), 5489, 20261126)


def of_torch(seed: int, points: int) -> torch.Tensor:
    return torch.randperm(points, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("points", [0, 1, 2, 3, 17, 311, 312, 623, 624, 625, 626, 1247, 1249, 5000, 65_537])
def test_orders_are_torchs(points: int) -> None:
    found = orders.orders(torch.tensor(SEEDS), points)
    assert torch.equal(found, torch.stack([of_torch(seed, points) for seed in SEEDS]))


def test_random_seeds_and_sizes_are_torchs() -> None:
    draws = torch.Generator().manual_seed(26)
    for points in torch.randint(1, 4000, (60,), generator=draws).tolist():
        seeds = torch.empty(3, dtype=torch.int64).random_(generator=draws)
        found = orders.orders(seeds, points)
        assert torch.equal(found, torch.stack([of_torch(seed, points) for seed in seeds.tolist()]))


@pytest.mark.slow
@pytest.mark.parametrize("points", [1_000_003, 2**24 + 1])
def test_orders_of_large_pictures_are_torchs(points: int) -> None:
    assert torch.equal(orders.orders(torch.tensor([7]), points)[0], of_torch(7, points))


def test_past_the_limit_torch_itself_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    assert LIMIT == 214_748_364
    monkeypatch.setattr(orders, "LIMIT", 100)
    monkeypatch.setattr(orders, "shuffle", lambda *words: pytest.fail("drawn by 32 bits"))
    assert torch.equal(orders.orders(torch.tensor(SEEDS[:3]), 100)[2], of_torch(SEEDS[2], 100))


@pytest.mark.parametrize(
    ("seeds", "points", "what"),
    [
        (torch.tensor([1], dtype=torch.int32), 5, "int64"),
        (torch.tensor(1), 5, r"\(n,\)"),
        (torch.tensor([1]), -1, "at least 0"),
    ],
)
def test_what_cannot_be_ordered_is_refused(seeds: torch.Tensor, points: int, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        orders.orders(seeds, points)
