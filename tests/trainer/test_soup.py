"""The mean of adapters, held against the mean of the matrices that they stand for."""

from __future__ import annotations

import pytest
import torch

from trainer.soup import mean

WIDE, TALL, RANK = 24, 18, 4
A, B = "layer.lora_A.weight", "layer.lora_B.weight"


def adapter(seed: int) -> dict[str, torch.Tensor]:
    chance = torch.Generator().manual_seed(seed)
    return {
        A: torch.randn(RANK, WIDE, generator=chance),
        B: torch.randn(TALL, RANK, generator=chance),
    }


def change(weights: dict[str, torch.Tensor]) -> torch.Tensor:
    return weights[B] @ weights[A]


@pytest.mark.parametrize("count", [2, 3, 7])
def test_the_mean_is_the_nearest_of_its_rank(count: int) -> None:
    adapters = [adapter(seed) for seed in range(count)]
    found = mean(adapters)
    assert (found[A].shape, found[B].shape) == ((RANK, WIDE), (TALL, RANK))
    wanted = torch.stack([change(one) for one in adapters]).mean(dim=0)
    missed = torch.linalg.matrix_norm(change(found) - wanted)
    # What the best approximation of rank R misses are the singular values from R on (Eckart and Young).
    assert missed == pytest.approx(float(torch.linalg.svdvals(wanted)[RANK:].norm()), rel=1e-4)


def test_what_all_agree_on_stays() -> None:
    """Adapters that do the same by other factors: their factors' mean would do something else."""
    one = adapter(1)
    turn = torch.linalg.qr(adapter(2)[B][:RANK]).Q
    other = {A: turn @ one[A], B: one[B] @ turn.T}
    assert torch.allclose(change(mean([one, other])), change(one), atol=1e-5)
    factors = {name: (one[name] + other[name]) / 2 for name in one}
    assert not torch.allclose(change(factors), change(one), atol=0.1)


def test_one_alone_stays_itself() -> None:
    one = adapter(1)
    assert mean([one]) == one


def test_each_layer_has_its_own_mean() -> None:
    two = [
        {f"{place}.{name}": weight for place in "pq" for name, weight in adapter(seed).items()}
        for seed in (1, 2)
    ]
    found = mean(two)
    assert found.keys() == two[0].keys()
    assert torch.equal(found[f"p.{A}"], found[f"q.{A}"])
