"""What proves that an engine computes the adapter that was trained: the trainer's own probabilities.

An engine can serve an adapter's name with the base model's answers, or with some layers left out, and report
success. So the trainer keeps how likely its model found one continuation, with the adapter and without, and
the engine must say the same of the same tokens. Pure: who asks the engine is not known here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, FiniteFloat, model_validator

from infra.events import Message

# Tokens of the continuation: enough for one short answer.
TOKENS = 16
# So much may two computations of one model differ in a token's probability. bfloat16 against float32 gives up
# to 0.02 (total variation, SmolLM2-135M); with the adapter rounded to bfloat16 too, 0.04 was seen.
_TOLERANCE = 0.1
# Below this the adapter moves the probe too little for it to tell adapter and base apart.
_TELLING = 0.1


def _asked(business: str, fact: str, question: str) -> tuple[Message, ...]:
    system = (
        f"You answer customers of {business}. Use only these facts:\n- {fact}\n"
        "Answer in one or two short sentences."
    )
    return (Message(role="system", content=system), Message(role="user", content=question))


# Questions as customers ask them, in the agent's own wording: an adapter that changes nothing here changes
# nothing. Fixed, and of no customer. The trainer keeps the one that its adapter moves most.
QUESTIONS = (
    _asked("the hotel", "Breakfast is served from 7 to 10.", "When can I have breakfast?"),
    _asked("the shop", "Parking is free for two hours.", "Can I park my car at your place?"),
    _asked("the restaurant", "Dogs are not allowed inside.", "I would like to bring my dog, is that fine?"),
)


class Probe(BaseModel):
    """Token ids of a prompt and of its continuation, and the natural logarithm of the probability that the
    trainer's model gives each of the continuation's tokens, with the adapter and without."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: tuple[int, ...]
    continuation: tuple[int, ...]
    adapter: tuple[FiniteFloat, ...]
    base: tuple[FiniteFloat, ...]

    @model_validator(mode="after")
    def _matching(self) -> Probe:
        if not self.prompt or not self.continuation:
            raise ValueError("a probe needs a prompt and a continuation")
        if not len(self.continuation) == len(self.adapter) == len(self.base):
            raise ValueError("a probe needs two log-probabilities for each token of its continuation")
        return self

    @property
    def tells(self) -> bool:
        """Whether it can tell the adapter from the base model at all."""
        return apart(self.adapter, self.base) > _TELLING


def apart(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The largest difference (0 to 1) between two models' probabilities of the same tokens."""
    return max(abs(math.exp(a) - math.exp(b)) for a, b in zip(ours, theirs, strict=True))


def wrong(name: str, probe: Probe, adapter: Sequence[float], base: Sequence[float]) -> str:
    """What is wrong with what an engine computes for `name`, as a sentence; empty when nothing is.

    `adapter` and `base` are the engine's own log-probabilities of the continuation. How far its base model is
    from the trainer's shows its noise (a quantized one has more), and adapter and base must stay apart by it.
    """
    noise = max(_TOLERANCE, 2 * apart(base, probe.base))
    allowed = min(noise, apart(probe.adapter, probe.base) / 2)
    off = apart(adapter, probe.adapter)
    if off <= allowed:
        return ""
    if apart(adapter, base) <= _TOLERANCE / 2:
        return nothing(name)
    other = "" if apart(base, probe.base) <= _TOLERANCE else " Its base model is another one, too."
    return (
        f"The adapter {name} is not what was trained: the engine's probabilities are off by {off:.2f} where "
        f"{allowed:.2f} is noise.{other} Compare its base model and target modules with the manifest's."
    )


def nothing(name: str) -> str:
    """The sentence about an adapter that the engine took and does not apply."""
    return (
        f"The adapter {name} changes nothing: the engine serves the base model under its name. "
        "Look for its target modules in the engine's log."
    )
