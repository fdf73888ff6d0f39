"""A sequence-classification reward model as a reward: any with one output, from a folder or a hub by name.

Larger ones want a GPU. Such models were trained on conversations, so a case is shown as one: the facts and
the question are the customer's message, the answer is the assistant's.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from transformers.utils.logging import disable_progress_bar

from infra.errors import NightError
from infra.sections import ClassifierSettings
from trainer.reward.model import Case, Reward
from trainer.weights import hash_of

# Cases in one pass: what a small GPU holds of a large model's activations.
_BATCH = 16
_LONGEST = 2048  # tokens; the beginning is cut off, never the answer


class ClassifierReward:
    """Its value is the logistic curve of the model's output. `good` starts at `trainer.classifier.good`."""

    name = "classifier"

    def __init__(self, model: Any, tokenizer: Any, version: str, good: float) -> None:  # transformers' own
        self.version = version
        self._model = model.eval()
        self._tokenizer = tokenizer
        self._good = good

    @classmethod
    def open(cls, settings: ClassifierSettings) -> ClassifierReward:
        """Loads the model, onto a GPU where there is one.

        Raises:
            NightError: none is named, it cannot be had, or it has more than one output.
        """
        if not settings.model:
            raise NightError("trainer.classifier.model is empty: name a folder or a model of a hub.")
        disable_progress_bar()  # type: ignore[no-untyped-call] # it would fill a night's log
        source: dict[str, Any] = {"revision": settings.revision} if settings.revision else {}
        try:
            model = AutoModelForSequenceClassification.from_pretrained(settings.model, dtype="auto", **source)
            tokenizer = AutoTokenizer.from_pretrained(settings.model, truncation_side="left", **source)
        except (OSError, ValueError) as err:
            raise NightError(
                f"The reward model {settings.model!r} cannot be had ({err}): set trainer.classifier.model to "
                "a folder or a hub's name, and check the connection to the hub."
            ) from err
        if model.config.num_labels != 1:
            raise NightError(
                f"{settings.model!r} has {model.config.num_labels} outputs, a reward model has one: choose "
                "another one."
            )
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        model.config.get_text_config().pad_token_id = tokenizer.pad_token_id
        device = "cuda" if torch.cuda.is_available() else "cpu"
        return cls(model.to(device), tokenizer, _version(settings), settings.good)

    def score(self, cases: Sequence[Case]) -> list[Reward]:
        """One reward for each case, in order; a case without facts or answer is worth nothing."""
        rewards = [Reward(value=0.0, good=False, parts={"empty": 1.0})] * len(cases)
        judged = [place for place, case in enumerate(cases) if case.facts and case.answer.strip()]
        judged.sort(key=lambda place: len(cases[place].answer))  # like lengths together: less padding
        for first in range(0, len(judged), _BATCH):
            batch = judged[first : first + _BATCH]
            for place, logit in zip(batch, self._logits([cases[place] for place in batch]), strict=True):
                value = 1.0 / (1.0 + exp(-logit))
                rewards[place] = Reward(value=value, good=value >= self._good, parts={"logit": logit})
        return rewards

    @torch.inference_mode()
    def _logits(self, cases: Sequence[Case]) -> list[float]:
        texts = [self._text(case) for case in cases]
        # A chat template has already written the special tokens.
        tokens = self._tokenizer(
            texts,
            padding=True,
            truncation=True,
            max_length=_LONGEST,
            add_special_tokens=self._tokenizer.chat_template is None,
            return_tensors="pt",
        ).to(self._model.device)
        found: list[float] = self._model(**tokens).logits[:, 0].float().tolist()
        return found

    def _text(self, case: Case) -> str:
        messages = conversation(case)
        if self._tokenizer.chat_template is None:
            return "\n\n".join(message["content"] for message in messages)
        text: str = self._tokenizer.apply_chat_template(messages, tokenize=False)
        return text


def conversation(case: Case) -> list[dict[str, str]]:
    """The case as two messages."""
    facts = "\n".join(f"- {f'{fact.title} {fact.text}'.strip()}" for fact in case.facts)
    return [
        {"role": "user", "content": f"Answer from these facts alone:\n{facts}\n\n{case.query}"},
        {"role": "assistant", "content": case.answer},
    ]


def _version(settings: ClassifierSettings) -> str:
    """What a manifest names: a folder by the hash of its weights, a hub's model by name and revision."""
    folder = Path(settings.model)
    if folder.is_dir():
        return f"{folder.name}@{hash_of(folder)[:12]}"
    return f"{settings.model}@{settings.revision or 'main'}"
