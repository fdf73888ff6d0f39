"""The parts of the methods, on a model of two tiny layers."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch.nn.functional import cross_entropy
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM
from trl.trainer.utils import add_fused_lm_head

from tests.engines import BASE_MODEL
from trainer.methods import dpo
from trainer.methods.grpo import judge
from trainer.methods.head import spare_prompts
from trainer.methods.sft import CompletionTrainer, Weighing, weighed
from trainer.methods.shared import IGNORED, share
from trainer.order import Order
from trainer.reward.grounded import GroundedReward

TINY = LlamaConfig(
    vocab_size=97,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
)
TEMPERATURE = 0.7


def tiny() -> Any:
    """A tiny model with an adapter; PEFT's types do not say what its forward takes."""
    torch.manual_seed(1)
    lora = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    return get_peft_model(LlamaForCausalLM(TINY), lora)  # type: ignore[no-untyped-call]


def batch() -> dict[str, torch.Tensor]:
    """Two rows of another length, padded at the right, each with an answer of its own length."""
    ids = torch.randint(1, 97, (2, 12), generator=torch.Generator().manual_seed(2))
    mask = torch.ones_like(ids)
    mask[1, 9:] = 0
    labels = torch.full_like(ids, IGNORED)
    labels[0, 8:12], labels[1, 6:9] = ids[0, 8:12], ids[1, 6:9]
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def group() -> dict[str, torch.Tensor]:
    """Two prompts with two answers each, as DPO has them: first all chosen, padded at the right.

    The prompts have four and six tokens, the answers two to five.
    """
    rng = torch.Generator().manual_seed(3)
    prompts = [torch.randint(1, 97, (size,), generator=rng) for size in (4, 6)]
    ids = torch.zeros((4, 10), dtype=torch.long)
    mask, labels = torch.zeros_like(ids), torch.full_like(ids, IGNORED)
    for row, (prompt, size) in enumerate(zip([*prompts, *prompts], (5, 2, 3, 4), strict=True)):
        end = len(prompt) + size
        ids[row, : len(prompt)] = prompt
        ids[row, len(prompt) : end] = torch.randint(1, 97, (size,), generator=rng)
        mask[row, :end] = 1
        labels[row, len(prompt) : end] = ids[row, len(prompt) : end]
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def shifted(inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same padded at the left: GRPO has its prompts so."""
    moved = {name: values.clone() for name, values in inputs.items()}
    for row, present in enumerate(inputs["attention_mask"].sum(dim=1).tolist()):
        for name, values in inputs.items():
            moved[name][row] = values[row].roll(values.shape[1] - present)
    return moved


def gradients(model: Any) -> dict[str, torch.Tensor]:
    """What the last `backward` left, taken away."""
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


def assert_same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert len(found) == 8
    assert found.keys() == expected.keys()
    for name, gradient in found.items():
        assert torch.allclose(gradient, expected[name], atol=1e-5), name


def loss_of(model: Any, inputs: dict[str, torch.Tensor], weights: list[float], items: int | None) -> Any:
    trainer = SimpleNamespace(accelerator=SimpleNamespace(unwrap_model=lambda wrapped: wrapped))
    weighed = {**inputs, "weight": torch.tensor(weights)}
    return CompletionTrainer.compute_loss(trainer, model, weighed, num_items_in_batch=items)  # type: ignore[arg-type]


@pytest.mark.parametrize("items", [None, 7])
def test_best_of_ns_loss_is_the_completions_cross_entropy_and_so_are_its_gradients(items: int | None) -> None:
    model, inputs = tiny(), batch()
    loss = loss_of(model, inputs, [1.0, 1.0], items)
    loss.backward()
    found = gradients(model)
    logits = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits
    targets = inputs["labels"][:, 1:].flatten()
    whole = cross_entropy(logits[:, :-1].flatten(0, 1), targets, ignore_index=IGNORED)
    whole.backward()  # type: ignore[no-untyped-call]
    assert torch.allclose(loss, whole, atol=1e-5)
    assert_same(found, gradients(model))


def test_a_rows_tokens_count_by_its_weight() -> None:
    model, inputs = tiny(), batch()
    loss_of(model, inputs, [1.6, 0.4], None).backward()
    found = gradients(model)
    logits = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits
    targets = inputs["labels"][:, 1:]
    losses_B_T = cross_entropy(
        logits[:, :-1].transpose(1, 2), targets, ignore_index=IGNORED, reduction="none"
    )
    ((1.6 * losses_B_T[0].sum() + 0.4 * losses_B_T[1].sum()) / 7).backward()  # type: ignore[no-untyped-call]
    assert_same(found, gradients(model))


def test_weights_reach_the_loss_with_a_mean_of_one() -> None:
    def of(*weights: float) -> list[float]:
        return [row["weight"] for row in weighed([{"prompt": [], "weight": weight} for weight in weights])]

    assert of(1.0, 1.0, 1.0) == [1.0, 1.0, 1.0]
    assert of(0.5, 0.5) == [1.0, 1.0]
    assert of(1.0, 1.0, 0.5, 0.5) == pytest.approx([4 / 3, 4 / 3, 2 / 3, 2 / 3])
    collate = Weighing(lambda rows: {"input_ids": torch.tensor([row["input_ids"] for row in rows])})
    batch = collate([{"input_ids": [1, 2], "weight": 0.5}, {"input_ids": [3, 4], "weight": 1.5}])
    assert batch["weight"].tolist() == [0.5, 1.5]
    assert batch["input_ids"].shape == (2, 2)


@pytest.mark.parametrize("inputs", [batch(), group(), shifted(group())], ids=["apart", "shared", "left"])
def test_answers_behind_one_prompt_tell_trl_what_its_own_way_would(inputs: dict[str, torch.Tensor]) -> None:
    model = tiny()
    base = model.get_base_model()
    outputs = ("log_probs", "entropy", "mean_logits", "is_top1")
    add_fused_lm_head(base, temperature=TEMPERATURE, outputs=outputs)
    positions = (inputs["attention_mask"].cumsum(dim=1) - 1).clamp(min=0)
    expected = model(**inputs, position_ids=positions, fused_lm_head=True)
    expected.log_probs.sum().backward()
    gradients_of_trl = gradients(model)
    spare_prompts(base, TEMPERATURE)
    found = model(**inputs, fused_lm_head=True)
    found.log_probs.sum().backward()
    assert_same(gradients(model), gradients_of_trl)
    assert torch.equal(found.label_mask, expected.label_mask)
    for name in outputs:
        assert torch.allclose(found[name].float(), expected[name].float(), atol=1e-5), name


def test_a_prompt_stands_once_with_all_of_its_answers() -> None:
    inputs = group()
    rows = share(inputs["input_ids"], inputs["attention_mask"], inputs["labels"])
    assert rows.inputs["input_ids"].shape == (2, 12)  # 4 + 5 + 3 tokens, and 6 + 2 + 4
    assert rows.inputs["position_ids"][0].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 4, 5, 6]
    looks = rows.inputs["attention_mask"][0, 0]
    assert looks[10].tolist() == [True] * 4 + [False] * 5 + [True, True, False]
    said = inputs["labels"] != IGNORED
    assert len(rows.before_N) == said.sum()
    assert rows.before_N.tolist()[:5] == [3, 4, 5, 6, 7]


def test_without_trls_call_the_model_answers_as_before() -> None:
    model, inputs = tiny(), batch()
    before = model(**inputs)
    spare_prompts(model.get_base_model())
    after = model(**inputs)
    assert torch.equal(before.logits, after.logits)
    assert torch.equal(before.loss, after.loss)
    longer = model.generate(input_ids=inputs["input_ids"][:1], max_new_tokens=3, eos_token_id=None)
    assert longer.shape == (1, 15)


def said(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def of_pairs(folder: Path, *pairs: tuple[str, str, float]) -> tuple[Any, dict[str, torch.Tensor]]:
    """A trainer for (chosen, rejected, weight), with an adapter that already differs, and its only batch."""
    torch.manual_seed(1)
    tokenizer = AutoTokenizer.from_pretrained(BASE_MODEL)
    rows = [
        {
            "prompt": [{"role": "user", "content": "Is it free?"}],
            "chosen": said(chosen),
            "rejected": said(rejected),
            "weight": weight,
        }
        for chosen, rejected, weight in pairs
    ]
    config = LlamaConfig(**TINY.to_dict() | {"vocab_size": len(tokenizer)})
    parts = {
        "model": LlamaForCausalLM(config),  # type: ignore[no-untyped-call]
        "processing_class": tokenizer,
        "peft_config": LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False),
    }
    order = Order(base=str(BASE_MODEL), method="dpo", rows_per_step=len(rows))
    arguments = {"output_dir": str(folder), "report_to": [], "bf16": False, "use_cpu": True}
    trainer = dpo.make(order, rows, arguments, parts)
    (batch,) = trainer.get_train_dataloader()
    return trainer, batch


def test_pairs_count_by_their_weights(tmp_path: Path) -> None:
    def loss(*pairs: tuple[str, str, float]) -> float:
        trainer, batch = of_pairs(tmp_path, *pairs)
        return float(trainer.compute_loss(trainer.model, batch).detach())

    one, other = loss(("Yes.", "No.", 1.0)), loss(("It is.", "It costs a lot.", 1.0))
    both = loss(("Yes.", "No.", 1.0), ("It is.", "It costs a lot.", 3.0))
    assert abs(one - other) > 0.01
    assert both == pytest.approx((one + 3 * other) / 4, rel=1e-4)


def test_a_pair_of_the_same_answer_is_imitated_and_pulls_no_other_way(tmp_path: Path) -> None:
    trainer, batch = of_pairs(tmp_path, ("Yes, it is.", "Yes, it is.", 1.0))
    loss = trainer.compute_loss(trainer.model, batch)
    loss.backward()
    found = gradients(trainer.model)
    said_T = batch["completion_mask"][0, 1:] == 1
    logits_T_V = trainer.model(input_ids=batch["input_ids"][:1]).logits[0, :-1]
    imitated = cross_entropy(logits_T_V[said_T], batch["input_ids"][0, 1:][said_T])
    imitated.backward()  # type: ignore[no-untyped-call]
    assert torch.allclose(loss, imitated + math.log(2), rtol=1e-4)
    assert_same(found, gradients(trainer.model))


def test_grpos_judge_scores_a_sample_by_the_query_and_facts_of_its_row() -> None:
    facts = ("Parking is free for guests.", "No pets are allowed in the rooms.")
    rows = [
        {"query": query, "facts": [{"title": "", "text": fact}]}
        for query, fact in zip(("Can I park?", "Can I bring a dog?"), facts, strict=True)
    ]
    answers = [" Parking is free for guests.", "No pets are allowed in the rooms.", "Hello.", facts[0]]
    rewards = judge(GroundedReward(), rows)(
        [[{"role": "assistant", "content": text}] for text in answers], row=[0, 1, 1, 1], trainer_state=None
    )
    assert rewards[0] == rewards[1] == 1.0
    assert [reward is not None and reward < 0.5 for reward in rewards[2:]] == [True, True]
