"""What the engine sends back, read from its JSON into plain values. Pure; errors quote no content."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel, Field, FiniteFloat, ValidationError

from infra.errors import EngineError


@dataclass(frozen=True, slots=True)
class Choice:
    """One completion. `tokens` is its length, 0 when unknown (with several the engine tells the sum)."""

    text: str
    finish_reason: str
    tokens: int


@dataclass(frozen=True, slots=True)
class Answer:
    """All completions of one prompt; token counts are 0 when the engine told none."""

    choices: tuple[Choice, ...]
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of a streamed completion. The last one has the usage."""

    text: str = ""
    finish_reason: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Message(BaseModel):
    content: str | None = None


class _Likely(BaseModel):
    token: str
    logprob: float


class Token(_Likely):
    """A generated token with the likeliest tokens in its place."""

    top_logprobs: list[_Likely] = Field(default_factory=list)


class _Logprobs(BaseModel):
    content: list[Token] | None = None


class _Choice(BaseModel):
    index: int = 0
    message: _Message = _Message()
    delta: _Message = _Message()
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None


class _Logprob(BaseModel):
    logprob: FiniteFloat


class _Forced(BaseModel):
    """`prompt_logprobs` has the likeliest tokens of each place, and the one that stands there, by id."""

    prompt_logprobs: list[dict[str, _Logprob] | None] | None = None


class _Prompts(BaseModel):
    choices: list[_Forced] = Field(min_length=1)


class _Usage(BaseModel):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Error(BaseModel):
    message: str = ""
    code: int | str | None = None


class _Completion(BaseModel):
    choices: list[_Choice] = Field(default_factory=list)
    usage: _Usage | None = None
    error: _Error | None = None


class _Model(BaseModel):
    id: str


class _Models(BaseModel):
    data: list[_Model]


Kind = TypeVar("Kind", bound=BaseModel)


def answer(data: bytes, n: int) -> Answer:
    """The completions in a response's body.

    Raises:
        EngineError: the body is no chat completion, or holds another number of choices than `n`.
    """
    completion = _completion(data)
    if len(completion.choices) != n:
        raise EngineError(f"The engine gave {len(completion.choices)} choices where {n} were asked for.", 200)
    usage = completion.usage or _Usage()
    tokens = usage.completion_tokens or 0
    return Answer(
        tuple(
            Choice(choice.message.content or "", choice.finish_reason or "", tokens if n == 1 else 0)
            for choice in sorted(completion.choices, key=lambda choice: choice.index)
        ),
        usage.prompt_tokens or 0,
        tokens,
    )


def deltas(data: bytes) -> Iterator[Delta]:
    """What one event of a stream adds: nothing, text, or the usage at the end."""
    completion = _completion(data)
    for choice in completion.choices:
        if choice.delta.content or choice.finish_reason:
            yield Delta(choice.delta.content or "", choice.finish_reason or "")
    # Without choices it is the end's; some engines also repeat it along the way.
    if completion.usage and not completion.choices:
        yield Delta(
            prompt_tokens=completion.usage.prompt_tokens or 0,
            completion_tokens=completion.usage.completion_tokens or 0,
        )


def tokens(data: bytes) -> tuple[Token, ...]:
    """The tokens of a completion that was asked for with log-probabilities.

    Raises:
        EngineError: it has none.
    """
    choices = _completion(data).choices
    found = choices[0].logprobs.content if choices and choices[0].logprobs else None
    if not found:
        raise EngineError("The engine gave no log-probabilities: it must serve `logprobs` in chats.", 200)
    return tuple(found)


def forced(data: bytes, continuation: Sequence[int]) -> tuple[float, ...]:
    """The log-probabilities of the tokens at the end of a prompt that was asked for with them.

    Raises:
        EngineError: it has none, or not of these tokens.
    """
    places = _parse(_Prompts, data).choices[0].prompt_logprobs or []
    found = [
        place[str(token)].logprob
        for token, place in zip(continuation, places[-len(continuation) :], strict=False)
        if place and str(token) in place
    ]
    if len(found) < len(continuation):
        raise EngineError("The engine gave no log-probabilities of a prompt: it must serve them.", 200)
    return tuple(found)


def distance(ours: Sequence[Token], theirs: Sequence[Token]) -> float:
    """The largest total variation (0 to 1) between two greedy runs' next-token distributions.

    Compared up to the first token in which the runs part: after it the contexts are different.
    """
    largest = 0.0
    for a, b in zip(ours, theirs, strict=False):
        p, q = _probabilities(a), _probabilities(b)
        apart = sum(abs(p.get(token, 0.0) - q.get(token, 0.0)) for token in p.keys() | q.keys()) / 2
        largest = max(largest, apart)
        if a.token != b.token:
            break
    return largest


def models(data: bytes) -> frozenset[str]:
    """The names in a list of models."""
    return frozenset(model.id for model in _parse(_Models, data).data)


def refusal(status: int, data: bytes) -> EngineError:
    """The error in a response that is not 200, in the engine's words where it has some."""
    try:
        error = _Completion.model_validate_json(data).error
    except ValidationError:
        error = None
    # Cut, because an engine may quote the request in its answer.
    words = error.message[:200] if error else "no reason given"
    return EngineError(f"The engine refused with status {status}: {words}", status)


def _completion(data: bytes) -> _Completion:
    completion = _parse(_Completion, data)
    if completion.error:
        code = completion.error.code
        raise EngineError(
            f"The engine failed in the middle of an answer: {completion.error.message[:200]}",
            code if isinstance(code, int) else 500,
        )
    return completion


def _parse(kind: type[Kind], data: bytes) -> Kind:
    try:
        return kind.model_validate_json(data)
    except ValidationError as err:
        detail = err.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in detail["loc"]) or "its body"
        raise EngineError(
            f"The engine's answer of {len(data)} bytes cannot be read ({where}: {detail['type']}): "
            "is something else listening on its port?",
            200,
        ) from None


def _probabilities(token: Token) -> dict[str, float]:
    return {likely.token: math.exp(likely.logprob) for likely in (*token.top_logprobs, token)}
