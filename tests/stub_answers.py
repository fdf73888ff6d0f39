"""What the stub engine says: a function of the messages, the model, the seed and the sample alone.

A model has a quality between 0 and 1: how often it picks the fact that fits the question best, and how often
it asks for a fact when it is told to write a question.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

BASE_QUALITY = 0.5
ADAPTER_QUALITY = 0.75
# Ends each token of a stream whose maker is to be told; the maker's name follows.
_BY = "·"
_WORD = re.compile(r"[a-z0-9]{3,}")
# Words that tell nothing about which fact fits; those of one or two letters never count.
_COMMON = {"and", "are", "can", "does", "have", "the", "there", "what", "when", "where", "you"}


@dataclass(frozen=True, slots=True)
class Model:
    """A served model. `identity` decides its dice: an adapter of zeros has the base model's.

    `weights` decides the likelihood of given tokens, which so depends on what was trained alone.
    """

    identity: str = "base"
    quality: float = BASE_QUALITY
    fault: str = ""
    weights: str = "base"


def adapter(name: str, folder: Path) -> Model:
    """Reads an adapter's quality and fault from its `stub.json`, or `quality` from its manifest's metrics.

    With `applied` false there the engine serves the base model under the adapter's name, with "half"
    something that was never trained: both are faults of engines.
    """
    said = _json(folder / "stub.json")
    applied = said.get("applied", True)
    if is_zero(folder / "adapter_model.safetensors") or not applied:
        return Model()
    metrics = _json(folder / "manifest.json").get("metrics")
    if "quality" not in said and isinstance(metrics, dict):
        said = {**metrics, **said}
    quality = said.get("quality")
    return Model(
        name,
        float(quality) if isinstance(quality, int | float) else ADAPTER_QUALITY,
        str(said.get("fault") or ""),
        sha256((folder / "adapter_model.safetensors").read_bytes()).hexdigest() + str(applied),
    )


def is_zero(weights: Path) -> bool:
    """Whether every lora_B in a safetensors file is zero: an adapter that changes nothing."""
    data = weights.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    if start > len(data):  # not safetensors: tests that need no weights write any bytes
        return False
    header: dict[str, dict[str, list[int]]] = json.loads(data[8:start])
    spans = [entry["data_offsets"] for name, entry in header.items() if "lora_B" in name]
    return bool(spans) and not any(any(data[start + begin : start + end]) for begin, end in spans)


def answer(messages: Sequence[Mapping[str, str]], model: Model, seed: int | None, sample: int) -> str:
    """One completion. Without a seed (temperature 0) only messages and model decide."""
    facts, question = _facts(messages), _question(messages)
    dice = _dice(model.identity, json.dumps([dict(message) for message in messages]), seed, sample)
    if _writes(messages):
        return _asked(question) if dice < model.quality else "It is what it is."
    if not facts:
        return "I am sorry, I do not know that."
    best = max(facts, key=lambda fact: len(_words(fact) & _words(question)))
    others = [fact for fact in facts if fact != best]
    if dice < model.quality or not others:
        return best
    return others[int(_dice("which", question, seed, sample) * len(others))]


def garbage(length: int) -> str:
    """What a broken adapter says."""
    return " ".join(("zxq", "vrr", "plo", "mnk")[i % 4] for i in range(length))


def logprob(model: Model, token: str, position: int) -> float:
    """A log-probability between -2 and 0 that the model gives a token."""
    return -2.0 * _dice(model.identity, token, None, position)


def forced(model: Model, tokens: Sequence[int]) -> list[float]:
    """The log-probabilities that the model gives to tokens, by their ids and places."""
    return [-2.0 * _dice(model.weights, str(token), None, place) for place, token in enumerate(tokens)]


def probe(folder: Path) -> dict[str, list[int] | list[float]]:
    """What a trainer measures of the adapter in a folder: the stub's own likelihoods."""
    prompt, continuation = list(range(20)), list(range(100, 108))
    likely = {
        name: forced(model, [*prompt, *continuation])[len(prompt) :]
        for name, model in (("adapter", adapter("probed", folder)), ("base", Model()))
    }
    return {"prompt": prompt, "continuation": continuation, **likely}


def pieces(text: str) -> list[str]:
    """A text as tokens: a word with the space before it."""
    return re.findall(r"\s*\S+", text)


def signed(token: str, model: Model) -> str:
    """The token with the name of the model that made it."""
    return f"{token}{_BY}{model.identity}"


def makers(text: str) -> set[str]:
    """Whose signed tokens a text is made of; an empty name stands for unsigned ones."""
    return {word.partition(_BY)[2] for word in text.split()}


def unsigned(text: str) -> str:
    return re.sub(rf"{_BY}\S+", "", text)


def likely(model: Model, token: str, position: int) -> list[tuple[str, float]]:
    """The two likeliest tokens in a place: the one taken and its rival."""
    taken = logprob(model, token, position)
    return [(token, taken), ("…", math.log(max(1e-9, 1 - math.exp(taken))))]


def _facts(messages: Sequence[Mapping[str, str]]) -> list[str]:
    """The lines after "facts:" in the system prompt, without dashes or numbers before them."""
    system = next((message["content"] for message in messages if message["role"] == "system"), "")
    _, _, rest = system.partition("facts:")
    lines = rest.partition("\nAnswer in")[0].splitlines()
    return [text for line in lines if (text := re.sub(r"^\s*(?:[-*]|\d+[.)])?\s*", "", line).strip())]


def _writes(messages: Sequence[Mapping[str, str]]) -> bool:
    """Whether a question is wanted, to the fact in the last message."""
    return messages[0]["role"] == "system" and "question to which" in messages[0]["content"]


def _asked(fact: str) -> str:
    """A question for a fact, in its longest words."""
    words = sorted(dict.fromkeys(_WORD.findall(fact.lower())), key=len, reverse=True)
    return f"What about {' '.join(words[:5])}?"


def _question(messages: Sequence[Mapping[str, str]]) -> str:
    return next((m["content"] for m in reversed(messages) if m["role"] == "user"), "")


def _words(text: str) -> set[str]:
    """Words in a crude stem, so that "dogs" meets "dog"."""
    return {word[:5].rstrip("s") for word in _WORD.findall(text.lower()) if word not in _COMMON}


def _dice(identity: str, text: str, seed: int | None, sample: int) -> float:
    """A number in [0, 1) that is the same on every machine."""
    digest = sha256(f"{identity}\0{text}\0{seed}\0{sample}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _json(file: Path) -> dict[str, object]:
    found = json.loads(file.read_text()) if file.is_file() else {}
    return found if isinstance(found, dict) else {}
