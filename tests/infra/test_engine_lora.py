"""Our LoRA operators against the plain formula, row by row."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch

from infra.engine_lora import adding, bgmv_expand, bgmv_expand_slice, bgmv_shrink, forgetting, grouping

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


# Outputs of the parts of a linear layer that vLLM computes as one: q, k and v.
WIDTHS = (6, 2, 2)


class Wrapper:
    """vLLM's, as far as ours uses it."""

    def __init__(self) -> None:
        self.token_lora_indices = torch.tensor([], dtype=torch.long)

    def update_metadata(self, slots: list[int]) -> None:
        self.token_lora_indices = torch.tensor(slots)


class Linear:
    """A linear layer as vLLM wraps it: all slots' matrices, and two methods that ours replace."""

    def __init__(self, wrapper: Wrapper) -> None:
        self.punica_wrapper = wrapper
        self.output_slices = WIDTHS
        self.lora_a_stacked = tuple(numbers(SLOTS, 1, RANK, HIDDEN) + part for part in range(len(WIDTHS)))
        self.lora_b_stacked = tuple(numbers(SLOTS, 1, width, RANK) for width in WIDTHS)

    def reset_lora(self, index: int) -> None:
        for stacked in (*self.lora_a_stacked, *self.lora_b_stacked):
            stacked[index] = 0

    def apply(self, inputs: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        raise AssertionError("vLLM's own")


APPLY: Callable[..., torch.Tensor] = adding(Linear.apply)
RESET = forgetting(Linear.reset_lora)
UPDATE = grouping(Wrapper.update_metadata)


def expected(layer: Linear, slots: list[int], inputs: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
    """Row by row and part by part."""
    wanted = before.clone()
    for row, slot in enumerate(slots):
        offset = 0
        for first, second, width in zip(layer.lora_a_stacked, layer.lora_b_stacked, WIDTHS, strict=True):
            if slot >= 0:
                wanted[row, offset : offset + width] += second[slot, 0] @ first[slot, 0] @ inputs[row]
            offset += width
    return wanted


def applied(layer: Linear, slots: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """What a layer makes of rows with these slots, and what it should."""
    inputs, before = numbers(len(slots), HIDDEN), numbers(len(slots), sum(WIDTHS))
    UPDATE(layer.punica_wrapper, slots)
    return APPLY(layer, inputs, before.clone()), expected(layer, slots, inputs, before)


@pytest.mark.parametrize("slots", BATCHES)
def test_a_layer_adds_to_each_row_what_its_own_adapter_makes_of_it(slots: list[int]) -> None:
    found, wanted = applied(Linear(Wrapper()), slots)
    assert torch.allclose(found, wanted, atol=1e-4)


def test_what_is_zero_is_not_computed() -> None:
    """Modules that an adapter leaves alone, ranks that it lacks, layers that it does not change."""
    layer = Linear(Wrapper())
    layer.lora_a_stacked[1][0] = 0
    layer.lora_b_stacked[1][0] = 0
    layer.lora_a_stacked[2][0, 0, 1:] = 0
    RESET(layer, 1)
    for slots in BATCHES:
        found, wanted = applied(layer, slots)
        assert torch.allclose(found, wanted, atol=1e-4)
    packed = vars(layer)["packed_by_slot"]
    first_H_R, second_R_O = packed[0]
    assert first_H_R.shape == (HIDDEN, RANK + 1)
    assert second_R_O.shape == (RANK + 1, sum(WIDTHS))
    assert packed[1] is None


def test_a_slot_with_a_new_adapter_forgets_the_old_one() -> None:
    layer = Linear(Wrapper())
    before, _ = applied(layer, [0, 2])
    RESET(layer, 0)
    layer.lora_a_stacked[0][0] = 1.0
    layer.lora_b_stacked[0][0] = 1.0
    found, wanted = applied(layer, [0, 2])
    assert torch.allclose(found, wanted, atol=1e-4)
    assert not torch.allclose(found[0], before[0], atol=1e-4)
    assert torch.allclose(found[1], before[1], atol=1e-4)


def test_another_wrapper_than_ours_keeps_vllms_own_path() -> None:
    layer = Linear(Wrapper())
    layer.punica_wrapper = SimpleNamespace()  # type: ignore[assignment]
    with pytest.raises(AssertionError, match="vLLM's own"):
        APPLY(layer, numbers(1, HIDDEN), numbers(1, sum(WIDTHS)))
