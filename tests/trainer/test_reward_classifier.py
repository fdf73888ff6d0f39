"""A sequence-classification model as a reward: loaded from a folder, and trained on pairs by TRL."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import LlamaConfig, LlamaForSequenceClassification, PreTrainedTokenizerFast

from infra.errors import NightError
from infra.events import Fact
from infra.sections import ClassifierSettings
from trainer.reward.classifier import ClassifierReward, conversation
from trainer.reward.model import Case, Reward
from trainer.reward.preferences import train, voted_pairs
from trainer.reward.votes import Vote

TEMPLATE = (
    "{% for message in messages %}<{{ message['role'] }}> {{ message['content'] }} <end> {% endfor %}"
    "{% if add_generation_prompt %}<assistant> {% endif %}"
)
WORDS = (
    "<pad> <unk> <end> < > user assistant end Answer from these facts alone : - is free costs 9 dollars . ? "
    "Is parking breakfast pool gym bar yes no"
).split()
THINGS = ("parking", "breakfast", "pool", "gym", "bar")


def model(folder: Path, labels: int = 1, template: str | None = TEMPLATE) -> Path:
    """A model of two tiny layers that has learnt nothing, as a folder."""
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=len(WORDS),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        pad_token_id=0,
    )
    config.num_labels = labels
    LlamaForSequenceClassification(config).save_pretrained(folder)  # type: ignore[no-untyped-call]
    words = Tokenizer(WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = Whitespace()
    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=words, unk_token="<unk>", eos_token="<end>", pad_token="<pad>"
    )
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    return folder


def case(thing: str, answer: str) -> Case:
    return Case(f"Is {thing} free ?", (Fact(title="", text=f"{thing} is free ."),), answer)


def opened(folder: Path, good: float = 0.9) -> ClassifierReward:
    return ClassifierReward.open(ClassifierSettings(model=str(folder), good=good))


@pytest.mark.parametrize("template", [TEMPLATE, None])
def test_an_answer_is_judged_alike_in_any_company(tmp_path: Path, template: str | None) -> None:
    reward = opened(model(tmp_path / "tiny", template=template), good=1e-6)
    cases = [case(thing, answer) for thing in THINGS for answer in ("yes .", "no , it costs 9 dollars .")]
    together = reward.score(cases)
    alone = [reward.score([one])[0] for one in cases]
    assert [one.value for one in together] == pytest.approx([one.value for one in alone], abs=1e-5)
    assert all(0.0 < one.value < 1.0 and one.good for one in together)
    assert len({round(one.value, 6) for one in together}) > 1


def test_without_facts_or_answer_it_is_worth_nothing(tmp_path: Path) -> None:
    reward = opened(model(tmp_path / "tiny"))
    nothing = Reward(0.0, False, {"empty": 1.0})
    assert reward.score([Case("Is it?", (), "yes"), case("bar", " ")]) == [nothing, nothing]
    assert reward.score([]) == []


def test_a_folder_is_named_by_its_weights(tmp_path: Path) -> None:
    version = opened(model(tmp_path / "tiny")).version
    assert version.startswith("tiny@")
    assert opened(model(tmp_path / "again" / "tiny")).version == version


@pytest.mark.parametrize(
    ("labels", "named", "problem"),
    [(2, True, "has 2 outputs"), (1, False, "trainer.classifier.model is empty")],
)
def test_what_is_no_reward_model_is_refused(tmp_path: Path, labels: int, named: bool, problem: str) -> None:
    folder = model(tmp_path / "tiny", labels)
    with pytest.raises(NightError, match=problem):
        ClassifierReward.open(ClassifierSettings(model=str(folder) if named else ""))


def test_a_model_that_cannot_be_had_is_told(tmp_path: Path) -> None:
    with pytest.raises(NightError, match="cannot be had"):
        ClassifierReward.open(ClassifierSettings(model=str(tmp_path / "missing")))


def test_pairs_teach_it_which_answer_is_better(tmp_path: Path) -> None:
    pairs = [(case(thing, "yes ."), case(thing, "no .")) for thing in THINGS] * 16
    base, out = model(tmp_path / "tiny"), tmp_path / "trained"
    train(pairs, base, out, epochs=4)
    reward = opened(out)
    better, worse = (reward.score([pair[side] for pair in pairs[:5]]) for side in (0, 1))
    assert all(one.value > other.value for one, other in zip(better, worse, strict=True))
    assert reward.version != opened(base).version


def test_what_one_person_likes_and_another_does_not_is_a_pair() -> None:
    def vote(answer: str, liked: bool, thing: str = "bar", said: bool = True) -> Vote:
        return Vote("r", "user a", case(thing, answer), liked, said)

    found = [
        vote("yes", True),
        vote("no", False),
        vote("maybe", False),
        vote("thanks", True, said=False),
        vote("yes", True, "pool"),
    ]
    assert [(better.answer, worse.answer) for better, worse in voted_pairs(found)] == [
        ("yes", "no"),
        ("yes", "maybe"),
    ]


def test_a_case_is_a_conversation() -> None:
    asked, said = conversation(case("bar", "yes ."))
    assert asked["content"] == "Answer from these facts alone:\n- bar is free .\n\nIs bar free ?"
    assert said == {"role": "assistant", "content": "yes ."}
