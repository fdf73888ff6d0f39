"""The engine's LoRA arithmetic on CPU, right and fast; loaded by vLLM itself as a general plugin.

vLLM's PyTorch operators copy an adapter's weights once for every token. Here all rows of an adapter are
multiplied at once, by the matrix where it lies. And in a batch that mixes base and adapter requests theirs
look up the base rows' adapter under index -1, which is the last slot: those customers would be answered by
some other adapter. Here such rows are left alone. GPU kernels have neither fault, and stay as they are.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

from infra.errors import ProcessError

# Its name in the package's metadata (`vllm.general_plugins`).
PLUGIN = "nightshift_lora"
# The second has taken the operators over by name.
_MODULES = ("vllm.lora.ops.torch_ops.lora_ops", "vllm.lora.punica_wrapper.punica_cpu")

# Any: this file knows tensors only by their methods, so that it need not import torch.
Tensor = Any


def install() -> None:
    """Puts our operators in the place of vLLM's. A second call changes nothing.

    Raises:
        ProcessError: this vLLM has no such operators, so its answers beside adapters could not be trusted.
    """
    for module in map(importlib.import_module, _MODULES):
        for operator in (bgmv_shrink, bgmv_expand, bgmv_expand_slice):
            if not hasattr(module, operator.__name__):
                raise ProcessError(
                    f"vLLM's {module.__name__} has no {operator.__name__}: use the version that Nightshift "
                    "pins, or check that base requests keep their answers beside an adapter's."
                )
            setattr(module, operator.__name__, operator)


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
    """Each adapter's matrix in the batch, with its rows. Slots below 0 are rows without an adapter."""
    if weights.dim() == 4:  # vLLM keeps a dimension of one between slot and matrix
        weights = weights.squeeze(1)
    present = slots_N.unique().tolist()
    for slot in present:
        if slot >= 0:
            rows = slice(len(slots_N)) if len(present) == 1 else (slots_N == slot).nonzero()[:, 0]
            yield weights[slot], rows
