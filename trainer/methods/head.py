"""What TRL asks a model for, without what it throws away or asks twice: on CPUs.

Logits are computed for answers alone, and a prompt once for all of its answers in a batch. On GPUs, where TRL
leaves the prompts' logits out by itself, its own way stays.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from trl.trainer.utils import FusedCausalLMOutput

from trainer.methods.shared import IGNORED, share


def spare_prompts(model: Any, temperature: float = 1.0) -> None:
    """Takes over the call by which TRL's DPO and GRPO ask a causal model for log-probabilities.

    That is `model(…, labels=…, fused_lm_head=True)`, as `trl.trainer.utils.add_fused_lm_head` says; other
    calls go to the model. `model` is the base model under the adapter; logits are divided by `temperature`.
    """
    if model.device.type == "cpu":
        model.forward = _sparing(model, model.forward, temperature)


def _sparing(model: Any, whole: Callable[..., Any], temperature: float) -> Callable[..., Any]:
    @wraps(whole)
    def forward(*args: Any, fused_lm_head: bool = False, labels: Any = None, **inputs: Any) -> Any:
        if not fused_lm_head:
            return whole(*args, labels=labels, **inputs)
        rows = share(inputs["input_ids"], inputs["attention_mask"], labels)
        hidden_P_L_H = model.get_decoder()(**rows.inputs, use_cache=False).last_hidden_state
        logits_N_V = model.get_output_embeddings()(hidden_P_L_H.flatten(0, 1)[rows.before_N])
        logits_N_V = logits_N_V.float() / temperature
        targets_B_T = labels[:, 1:]
        said_B_T = targets_B_T != IGNORED
        return _told(logits_N_V, targets_B_T, said_B_T)

    return forward


def _told(logits_N_V: torch.Tensor, targets_B_T: torch.Tensor, said_B_T: torch.Tensor) -> FusedCausalLMOutput:
    """What TRL reads, zero where nothing was said. Only the log-probabilities carry a gradient."""

    def placed(values_N: torch.Tensor) -> torch.Tensor:
        return values_N.new_zeros(said_B_T.shape).masked_scatter(said_B_T, values_N)

    targets_N = targets_B_T[said_B_T]
    logs_N_V = logits_N_V.log_softmax(dim=-1)
    with torch.no_grad():
        entropy_N = -(logs_N_V.exp() * logs_N_V).sum(dim=-1)
        mean_N, top_N = logits_N_V.mean(dim=-1), logits_N_V.argmax(dim=-1) == targets_N
    return FusedCausalLMOutput(
        log_probs=placed(logs_N_V.gather(1, targets_N[:, None]).squeeze(1)),
        entropy=placed(entropy_N),
        mean_logits=placed(mean_N),
        is_top1=placed(top_N),
        label_mask=said_B_T,
    )
