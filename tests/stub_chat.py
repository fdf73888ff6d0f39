"""The stub engine's chat completions as vLLM words them in JSON: whole answers, deltas, tokens, usage."""

from __future__ import annotations

from typing import Any

from tests import stub_answers
from tests.stub_answers import Model

# Tokens of prompt and answer together.
CONTEXT = 2048


def completion(body: dict[str, Any], model: Model, fault: str) -> dict[str, Any]:
    choices, total = [], 0
    for sample in range(body.get("n") or 1):
        words, reason = tokens(body, model, sample, fault)
        total += len(words)
        content = [_token(body, model, token, i) for i, token in enumerate(words)]
        choices.append(
            {
                "index": sample,
                "message": {"role": "assistant", "content": "".join(words)},
                "logprobs": {"content": content} if body.get("logprobs") else None,
                "finish_reason": reason,
            }
        )
    return {
        "id": "chatcmpl-stub", "object": "chat.completion", "created": 0, "model": body.get("model"),
        "choices": choices, "usage": usage(body, total),
    }  # fmt: skip


def forced(body: dict[str, Any], model: Model) -> dict[str, Any]:
    """An answer to a prompt of token ids, with their log-probabilities where these are asked for."""
    likely = enumerate(stub_answers.forced(model, body["prompt"]))
    places = [{str(body["prompt"][i]): {"logprob": p, "rank": 1, "decoded_token": "?"}} for i, p in likely]
    return {
        "id": "cmpl-stub", "object": "text_completion", "created": 0, "model": body.get("model"),
        "choices": [
            {
                "index": 0, "text": "?", "finish_reason": "length",
                "prompt_logprobs": [None, *places[1:]] if body.get("prompt_logprobs") is not None else None,
            }
        ],
    }  # fmt: skip


def tokens(body: dict[str, Any], model: Model, sample: int, fault: str) -> tuple[list[str], str]:
    seed = (body.get("seed") or 0) if body.get("temperature", 1.0) else None
    most = body.get("max_tokens") or CONTEXT
    messages, half = body["messages"], ""
    if body.get("continue_final_message"):
        *messages, last = messages
        half = stub_answers.unsigned(last["content"])
    text = stub_answers.answer(messages, model, seed, 0 if seed is None else sample)
    text = text.removeprefix(half) if text.startswith(half) else f" {text}"
    if fault == "garbage":
        text = stub_answers.garbage(12)
    for stop in body.get("stop") or ():
        text = text.partition(stop)[0]
    tokens = stub_answers.pieces(text)
    return tokens[:most], "length" if len(tokens) > most else "stop"


def _token(body: dict[str, Any], model: Model, token: str, position: int) -> dict[str, Any]:
    likely = [{"token": t, "logprob": p} for t, p in stub_answers.likely(model, token, position)]
    return {**likely[0], "top_logprobs": likely[: body.get("top_logprobs") or 0]}


def usage(body: dict[str, Any], completion: int) -> dict[str, int]:
    prompt = sum(len(stub_answers.pieces(message["content"])) + 4 for message in body["messages"])
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def delta(delta: dict[str, str], reason: str | None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "finish_reason": reason}
