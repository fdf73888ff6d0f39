"""A correction of the engine's LoRA arithmetic on CPU, loaded by vLLM itself as a general plugin.

In a batch that mixes base and adapter requests, vLLM's PyTorch operators look up the base rows' adapter
under index -1, which is the last slot: those customers would be answered by some other adapter. Here
such rows add nothing. GPU kernels know index -1, and are left as they are.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any

from infra.errors import ProcessError

# Its name in the package's metadata (`vllm.general_plugins`).
PLUGIN = "nightshift_mask"
_MODULES = ("vllm.lora.ops.torch_ops.lora_ops", "vllm.lora.punica_wrapper.punica_cpu")
_OPERATORS = ("bgmv_expand", "bgmv_expand_slice")

# A tensor operator of vLLM. Any: this file knows tensors only by their methods, without importing torch.
Operator = Callable[..., Any]


def install() -> None:
    """Wraps the operators that add an adapter's part to a layer's output. A second call changes nothing.

    Raises:
        ProcessError: this vLLM has no such operators, so its base answers could not be trusted.
    """
    for module in map(importlib.import_module, _MODULES):
        for name in _OPERATORS:
            operator = getattr(module, name, None)
            if operator is None:
                raise ProcessError(
                    f"vLLM's {module.__name__} has no {name}: use the version that Nightshift pins, or "
                    "check that base requests keep their answers beside an adapter's."
                )
            if not hasattr(operator, "masked"):
                setattr(module, name, masked(operator))


def masked(operator: Operator) -> Operator:
    """The operator with the inputs of rows without an adapter (index below 0) set to zero."""

    @functools.wraps(operator)
    def wrapper(inputs: Any, weights: Any, output: Any, indices: Any, *rest: Any, **named: Any) -> Any:
        kept = inputs.masked_fill((indices < 0).unsqueeze(1), 0)
        return operator(kept, weights, output, indices, *rest, **named)

    wrapper.masked = True  # type: ignore[attr-defined]  # how a second call knows it
    return wrapper
