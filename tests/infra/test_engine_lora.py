"""Our LoRA operators against the plain formula, row by row."""

from __future__ import annotations

import pytest
import torch

from infra.engine_lora import bgmv_expand, bgmv_expand_slice, bgmv_shrink

SLOTS, RANK, HIDDEN, OUT = 3, 4, 8, 10
BATCHES = ([0, 0, 0], [2, -1, 0, 2, -1], [-1, -1], [1])


def numbers(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize("slots", BATCHES)
def test_shrink_multiplies_each_row_by_its_own_adapter(slots: list[int]) -> None:
    inputs, weights = numbers(len(slots), HIDDEN), numbers(SLOTS, 1, RANK, HIDDEN)
    output = torch.zeros(len(slots), RANK + 1)
    bgmv_shrink(inputs, weights, output, torch.tensor(slots), 0.5)
    for row, slot in enumerate(slots):
        wanted = 0.5 * weights[slot, 0] @ inputs[row] if slot >= 0 else torch.zeros(RANK)
        assert torch.allclose(output[row, :RANK], wanted, atol=1e-6)
    assert not output[:, RANK].any()


@pytest.mark.parametrize("slots", BATCHES)
@pytest.mark.parametrize("add", [True, False])
def test_expand_adds_to_rows_with_an_adapter_and_to_no_other(slots: list[int], add: bool) -> None:
    inputs, weights = numbers(len(slots), RANK), numbers(SLOTS, 1, OUT, RANK)
    before = numbers(len(slots), OUT + 2)
    output = before.clone()
    bgmv_expand(inputs, weights, output, torch.tensor(slots), add)
    for row, slot in enumerate(slots):
        wanted = before[row].clone()
        if slot >= 0:
            wanted[:OUT] = weights[slot, 0] @ inputs[row] + (before[row, :OUT] if add else 0)
        assert torch.allclose(output[row], wanted, atol=1e-6)


def test_expand_slice_keeps_to_its_slice() -> None:
    inputs, weights = numbers(3, RANK), numbers(SLOTS, 1, 4, RANK)
    output = torch.zeros(3, OUT)
    bgmv_expand_slice(inputs, weights, output, torch.tensor([0, -1, 2]), 3, 4)
    assert torch.allclose(output[0, 3:7], weights[0, 0] @ inputs[0], atol=1e-6)
    assert torch.allclose(output[2, 3:7], weights[2, 0] @ inputs[2], atol=1e-6)
    assert not output[1].any()
    assert not output[:, :3].any()
    assert not output[:, 7:].any()


def test_the_engines_own_number_formats_meet() -> None:
    """Inputs and weights in bfloat16, the middle in float32, as vLLM calls them."""
    inputs, slots = numbers(2, HIDDEN).bfloat16(), torch.tensor([1, -1])
    first, second = numbers(SLOTS, 1, RANK, HIDDEN).bfloat16(), numbers(SLOTS, 1, OUT, RANK).bfloat16()
    middle, output = torch.zeros(2, RANK), torch.zeros(2, OUT).bfloat16()
    bgmv_shrink(inputs, first, middle, slots, 2.0)
    bgmv_expand_slice(middle, second, output, slots, 0, OUT)
    wanted = second[1, 0].float() @ (2.0 * first[1, 0].float() @ inputs[0].float())
    assert torch.allclose(output[0].float(), wanted, rtol=0.05, atol=0.05)
    assert not output[1].any()
