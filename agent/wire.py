"""The chat completion API's shapes: requests as clients send them, answers, chunks and errors as they expect.

Unknown fields are accepted, as the API's other servers do. What a request leads to is `chat`'s business.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import to_json

from infra.errors import NightshiftError
from infra.events import Fact, Message

DONE = b"data: [DONE]\n\n"


class InvalidRequest(NightshiftError, ValueError):
    """The request is not one that the API knows. `param` is where: `messages.0.content`."""

    def __init__(self, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.param = param
        self.code = code


class _Request(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow")


class Part(_Request):
    """A piece of a message's content. Only text is understood."""

    type: Literal["text"]
    text: str


class ChatMessage(_Request):
    """`developer` is the newer name of `system`. A tool's message is refused: no tools are offered."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[Part]

    def plain(self) -> Message:
        text = (
            self.content if isinstance(self.content, str) else "\n".join(part.text for part in self.content)
        )
        return Message(role="system" if self.role == "developer" else self.role, content=text)


class StreamOptions(_Request):
    include_usage: bool = False


def _some_text(value: object) -> object:
    """Lone surrogates (half an emoji) can be sent as JSON, but never be written."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    return value


# Goes into a response header, so printable ASCII without spaces.
ConversationId = Annotated[str, Field(pattern=r"^[!-~]{1,128}$")]
# Who a customer is to the caller; kept short, for it stands in every event.
User = Annotated[str, BeforeValidator(_some_text), Field(max_length=256)]


class Metadata(_Request):
    conversation_id: ConversationId | None = None
    collection: str = ""


class PromptRequest(_Request):
    """The part of a chat request that decides the prompt."""

    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    collection: str = ""


class ChatRequest(_Request):
    """A chat completion request. `n` above 1 is refused: one answer is given and recorded."""

    model: str | None = None
    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Field(ge=0.0, le=2.0)] | None = None
    top_p: Annotated[float, Field(gt=0.0, le=1.0)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: str | Annotated[list[str], Field(max_length=4)] | None = None
    n: Literal[1] | None = None
    user: User | None = None
    metadata: Metadata | None = None


class FeedbackRequest(_Request):
    """A thumb, a comment, a better answer; at least one of them."""

    response_id: Annotated[str, Field(min_length=1, max_length=200)]
    rating: Literal[-1, 0, 1] = 0
    comment: Annotated[str, BeforeValidator(_some_text), Field(max_length=4000)] = ""
    correction: Annotated[str, BeforeValidator(_some_text), Field(max_length=8000)] = ""
    user: User | None = None


class FactsRequest(_Request):
    """Which page of a business's facts: the `limit` from number `offset` on."""

    collection: str = ""
    offset: Annotated[int, Field(ge=0)] = 0
    # Passages of documents have 600 characters at most: the longest page of them is a third of a megabyte.
    limit: Annotated[int, Field(ge=1, le=500)] = 100


R = TypeVar("R", bound=_Request)


def parse(kind: type[R], body: bytes) -> R:
    """Reads a request body. Raises InvalidRequest with the first complaint and where it is."""
    try:
        return kind.model_validate_json(body)
    except ValidationError as err:
        raise _invalid(err) from err


def parameters(kind: type[R], values: Mapping[str, str]) -> R:
    """Reads what stands behind an address's question mark. Raises as `parse`."""
    try:
        return kind.model_validate_strings(dict(values))
    except ValidationError as err:
        raise _invalid(err) from err


def _invalid(err: ValidationError) -> InvalidRequest:
    detail = err.errors(include_url=False, include_input=False)[0]
    param = ".".join(str(part) for part in detail["loc"]) or None
    what = f"`{param}`: {detail['msg']}" if param else str(detail["msg"])
    return InvalidRequest(f"The request is not valid. {what}.", param, detail["type"])


def history(messages: list[ChatMessage]) -> tuple[Message, ...]:
    """The conversation so far. Raises InvalidRequest unless it ends with something to answer."""
    last = len(messages) - 1
    spoken = tuple(
        Message(role=plain.role, content=str(_some_text(plain.content)))
        for plain in (message.plain() for message in messages)
    )
    if spoken[-1].role != "user" or not spoken[-1].content.strip():
        raise InvalidRequest(
            "The last message must be the user's and hold text: it is what gets answered.", f"messages.{last}"
        )
    return spoken


def completion(
    response_id: str, model: str, created: int, text: str, finish: str, usage: dict[str, int]
) -> bytes:
    """A whole answer."""
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text, "refusal": None},
        "logprobs": None,
        "finish_reason": finish,
    }
    return to_json(
        _head(response_id, "chat.completion", model, created) | {"choices": [choice], "usage": usage}
    )


def usage(prompt_tokens: int, completion_tokens: int) -> dict[str, int]:
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }


class Chunks:
    """The server-sent events of one streamed answer."""

    def __init__(self, response_id: str, model: str, created: int, with_usage: bool) -> None:
        self._head = _head(response_id, "chat.completion.chunk", model, created)
        self._with_usage = with_usage

    def role(self) -> bytes:
        return self._chunk({"role": "assistant", "content": ""}, None)

    def text(self, text: str) -> bytes:
        return self._chunk({"content": text}, None)

    def end(self, finish_reason: str, usage: dict[str, int]) -> bytes:
        """The last chunks: why the answer ended, what it used if that was asked for, and the end mark."""
        end = self._chunk({}, finish_reason)
        if self._with_usage:
            end += _event(self._head | {"choices": [], "usage": usage})
        return end + DONE

    def _chunk(self, delta: dict[str, str], finish_reason: str | None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        extra = {"usage": None} if self._with_usage else {}
        return _event(self._head | {"choices": [choice]} | extra)


def error(message: str, kind: str, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    """An error as the API's clients read it. `Any`: JSON."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def error_event(body: dict[str, Any]) -> bytes:
    """An error in the middle of a stream. No end mark follows: the answer did not end."""
    return _event(body)


def models(model: str) -> dict[str, Any]:
    """The list of models: the one public name. `Any`: JSON."""
    return {
        "object": "list",
        "data": [{"id": model, "object": "model", "created": 0, "owned_by": "nightshift"}],
    }


def facts(collection: str, known: Sequence[Fact], page: FactsRequest) -> dict[str, Any]:
    """A page of a collection's facts; `next` is the offset of the one after it, null at the end."""
    end = page.offset + page.limit
    return {
        "object": "list",
        "collection": collection,
        "data": [{"title": fact.title, "text": fact.text} for fact in known[page.offset : end]],
        "next": end if end < len(known) else None,
    }


def _head(response_id: str, kind: str, model: str, created: int) -> dict[str, Any]:
    return {"id": response_id, "object": kind, "created": created, "model": model}


def _event(body: dict[str, Any]) -> bytes:
    return b"data: " + to_json(body) + b"\n\n"
