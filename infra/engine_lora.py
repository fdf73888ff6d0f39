"""The engine's LoRA arithmetic on CPU, right and fast; loaded by vLLM itself as a general plugin.

vLLM's PyTorch operators copy an adapter's weights once for every token. Here all rows of an adapter are
multiplied at once, by the matrix where it lies. And in a batch that mixes base and adapter requests theirs
look up the base rows' adapter under index -1, which is the last slot: those customers would be answered by
some other adapter. Here such rows are left alone. GPU kernels have neither fault, and stay as they are.

In linear layers, where nearly all of it is, an adapter's matrices are packed once, without what is zero in
them (the engine's largest rank, modules that this adapter leaves alone), so that a layer costs two products.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from infra.errors import ProcessError

# Its name in the package's metadata (`vllm.general_plugins`).
PLUGIN = "nightshift_lora"
# The second has taken the operators over by name.
_MODULES = ("vllm.lora.ops.torch_ops.lora_ops", "vllm.lora.punica_wrapper.punica_cpu")

# Any: this file knows tensors, and vLLM's classes, only by their methods, so that it need not import torch.
Tensor = Any
Layer = Any
Wrapper = Any


def install() -> None:
    """Puts our operators in the place of vLLM's. A second call changes nothing.

    Raises:
        ProcessError: this vLLM has no such operators, so its answers beside adapters could not be trusted.
    """
    for module in map(importlib.import_module, _MODULES):
        for operator in (bgmv_shrink, bgmv_expand, bgmv_expand_slice):
            _replace(module, operator.__name__, partial(_instead, operator))
    if not importlib.import_module("vllm.platforms").current_platform.is_cpu():
        return
    _replace(_of("vllm.lora.punica_wrapper.punica_cpu", "PunicaWrapperCPU"), "update_metadata", grouping)
    linear = _of("vllm.lora.layers.base_linear", "BaseLinearLayerWithLoRA")
    _replace(linear, "reset_lora", forgetting)
    _replace(linear, "_apply_lora_to_output", adding)


def _instead(ours: Any, _original: Any) -> Any:
    return ours


def _of(module: str, name: str) -> Any:
    found = importlib.import_module(module)
    if not hasattr(found, name):
        raise _unknown(module, name)
    return getattr(found, name)


def _replace(owner: Any, name: str, ours: Callable[[Any], Any]) -> None:
    """Puts what `ours` makes of the original in its place, once."""
    if not hasattr(owner, name):
        raise _unknown(owner.__name__, name)
    if getattr(original := getattr(owner, name), "__module__", "") != __name__:
        setattr(owner, name, ours(original))


def _unknown(owner: str, name: str) -> ProcessError:
    return ProcessError(
        f"vLLM's {owner} has no {name}: use the version that Nightshift pins, or check that base requests "
        "keep their answers beside an adapter's."
    )


def grouping(original: Callable[..., None]) -> Callable[..., None]:
    """`update_metadata` of vLLM's wrapper, which also notes which rows of the step belong to which adapter.

    Once a step, not in each of its layers: finding them costs as much as a product.
    """

    def update_metadata(wrapper: Wrapper, *mapping: Any, **named: Any) -> None:
        original(wrapper, *mapping, **named)
        wrapper.rows_by_slot = tuple(_rows(wrapper.token_lora_indices))

    return update_metadata


def forgetting(original: Callable[..., None]) -> Callable[..., None]:
    """`reset_lora` of a linear layer, which comes before every change of a slot's weights."""

    def reset_lora(layer: Layer, index: int) -> None:
        layer.__dict__.setdefault("packed_by_slot", {}).pop(index, None)
        original(layer, index)

    return reset_lora


def adding(original: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """`_apply_lora_to_output` of a linear layer; the original where another wrapper than ours is at work."""

    def apply_lora_to_output(layer: Layer, inputs: Tensor, output: Tensor) -> Tensor:
        groups = getattr(layer.punica_wrapper, "rows_by_slot", None)
        if groups is None:
            return original(layer, inputs, output)
        add_adapters(layer, groups, inputs.view(-1, inputs.shape[-1]), output.view(-1, output.shape[-1]))
        return output

    return apply_lora_to_output


def add_adapters(
    layer: Layer, groups: Sequence[tuple[int, Tensor | None]], inputs_N_H: Tensor, output_N_O: Tensor
) -> None:
    """Adds to each row of a linear layer's output what its adapter makes of its input, in place.

    `groups` are slots with their rows; None: all of them.
    """
    packed = layer.__dict__.setdefault("packed_by_slot", {})
    for slot, rows in groups:
        if slot not in packed:
            packed[slot] = pack(layer.lora_a_stacked, layer.lora_b_stacked, layer.output_slices, slot)
        if (matrices := packed[slot]) is None:
            continue
        first_H_R, second_R_O = matrices
        if rows is None:
            output_N_O.addmm_(inputs_N_H @ first_H_R, second_R_O)
        else:
            output_N_O.index_add_(0, rows, inputs_N_H.index_select(0, rows) @ first_H_R @ second_R_O)


def pack(
    firsts: Sequence[Tensor], seconds: Sequence[Tensor], widths: Sequence[int], slot: int
) -> tuple[Tensor, Tensor] | None:
    """An adapter's matrices of all parts of a layer as two, without ranks that are zero; None if all are.

    `firsts` and `seconds` hold a part's A and B of all slots, `widths` its outputs: q, k and v are one layer.
    """
    parts, offset = [], 0
    for first, second, width in zip(firsts, seconds, widths, strict=True):
        a_R_H, b_O_R = first[slot, 0], second[slot, 0]
        used = (a_R_H.any(dim=1) & b_O_R.any(dim=0)).nonzero()[:, 0]
        if len(used):
            parts.append((a_R_H[used], b_O_R[:width, used], offset))
        offset += width
    if not parts:
        return None
    ranks, (like, _, _) = sum(len(a_R_H) for a_R_H, _, _ in parts), parts[0]
    first_H_R, second_R_O = like.new_zeros(like.shape[1], ranks), like.new_zeros(ranks, offset)
    rank = 0
    for a_R_H, b_O_R, offset in parts:
        end = rank + len(a_R_H)
        first_H_R[:, rank:end] = a_R_H.T
        second_R_O[rank:end, offset : offset + len(b_O_R)] = b_O_R.T
        rank = end
    return first_H_R, second_R_O


def _rows(slots_N: Tensor) -> Iterator[tuple[int, Tensor | None]]:
    """Each adapter's slot in the step, with its rows; None: all. Below 0 are rows without an adapter."""
    present = slots_N.unique().tolist()
    for slot in present:
        if slot >= 0:
            yield slot, None if len(present) == 1 else (slots_N == slot).nonzero()[:, 0]


def bgmv_shrink(
    inputs_N_H: Tensor, weights_S_R_H: Tensor, output_N_R: Tensor, slots_N: Tensor, scaling: float = 1.0
) -> None:
    """Writes each row's input times its adapter's A matrix; rows without an adapter keep their output."""
    for weights_R_H, rows in _groups(weights_S_R_H, slots_N):
        product = inputs_N_H[rows].to(weights_R_H.dtype) @ weights_R_H.T
        output_N_R[rows, : product.shape[1]] = scaling * product.to(output_N_R.dtype)


def bgmv_expand(
    inputs_N_R: Tensor, weights_S_O_R: Tensor, output_N_O: Tensor, slots_N: Tensor, add_inputs: bool = True
) -> None:
    """Adds each row's input times its adapter's B matrix, which may have fewer outputs than the layer."""
    width = min(weights_S_O_R.shape[-2], output_N_O.shape[1])
    bgmv_expand_slice(inputs_N_R, weights_S_O_R, output_N_O, slots_N, 0, width, add_inputs)


def bgmv_expand_slice(
    inputs_N_R: Tensor,
    weights_S_O_R: Tensor,
    output_N_O: Tensor,
    slots_N: Tensor,
    offset: int,
    size: int,
    add_inputs: bool = True,
) -> None:
    """As `bgmv_expand`, into `size` of the layer's outputs from `offset` on."""
    for weights_O_R, rows in _groups(weights_S_O_R, slots_N):
        product = (inputs_N_R[rows].to(weights_O_R.dtype) @ weights_O_R.T)[:, :size].to(output_N_O.dtype)
        part = output_N_O[:, offset : offset + size]
        part[rows] = part[rows] + product if add_inputs else product


def _groups(weights: Tensor, slots_N: Tensor) -> Iterator[tuple[Tensor, Tensor | slice]]:
    """Each adapter's matrix in the batch, with its rows."""
    if weights.dim() == 4:  # vLLM keeps a dimension of one between slot and matrix
        weights = weights.squeeze(1)
    for slot, rows in _rows(slots_N):
        yield weights[slot], slice(len(slots_N)) if rows is None else rows
