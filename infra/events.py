"""The events that rooms exchange: versioned JSON, one envelope, one body class for each type.

Readers keep fields they do not know, and every field added later has a default, so old and new
programs can share one topic. What an event means to the record is the collector's business.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ulid import ULID

from infra.errors import EventError

VERSION = 1


class Topic(StrEnum):
    """The names on the event log. Chat events come from the agent alone, the rest from any room."""

    INTERACTIONS = "interactions"
    FEEDBACK = "feedback"
    NIGHTS = "nights"
    DEPLOYMENTS = "deployments"


# Where the collector puts a copy of what it could not read or store, for whoever watches the log with its own
# tools. No room reads it: the record keeps dead letters, and `nightshift collector retry` tries them again.
DEAD_LETTER_TOPIC = "dead-letters"


class Arm(StrEnum):
    """Which side of a canary a conversation is on. Without a canary, everything is stable."""

    STABLE = "stable"
    CANARY = "canary"


class Body(BaseModel):
    """Base of all event bodies: frozen, and unknown fields survive a round trip."""

    model_config = ConfigDict(frozen=True, extra="allow")


class Message(Body):
    """One chat message. `content` is already free of personal data."""

    role: Literal["system", "user", "assistant"]
    content: str


class Fact(Body):
    """A piece of knowledge that retrieval put into the prompt; facts are ordered best first."""

    title: str
    text: str
    score: float = 0.0


class Interaction(Body):
    """One answer to one query, as the customer got it.

    `prompt` is the whole message list that the engine saw, so a night can resample it without
    knowing how prompts are made. Times are seconds, `first_token_s` and `latency_s` from the
    arrival of the request. `adapter` is the adapter that answered, empty for the base model;
    `fallback_from` the adapter that failed first, if one did.
    """

    response_id: str
    conversation_id: str
    turn: int = 0
    user: str = ""
    collection: str = ""
    query: str
    prompt: tuple[Message, ...]
    facts: tuple[Fact, ...] = ()
    answer: str
    arm: Arm = Arm.STABLE
    adapter: str = ""
    canary: str = ""
    fallback_from: str = ""
    status: Literal["ok", "error", "cancelled"] = "ok"
    error: str = ""
    finish_reason: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    first_token_s: float | None = None
    latency_s: float = 0.0
    streamed: bool = False
    redactions: dict[str, int] = Field(default_factory=dict)


class Feedback(Body):
    """What a customer said of one answer: `rating` 1 for thumbs up, -1 for down, 0 for neither."""

    response_id: str
    rating: Literal[-1, 0, 1] = 0
    comment: str = ""
    correction: str = ""
    user: str = ""


class NightChanged(Body):
    """A night began, finished a stage, or ended.

    `verdict` is empty until the night has ended; `manifest` then holds seeds, versions, snapshot,
    hashes, gate results and seconds of every stage.
    """

    night: str
    slot: str
    state: Literal["started", "stage", "ended"]
    stage: str = ""
    verdict: str = ""
    adapter: str = ""
    reason: str = ""
    seconds: float = 0.0
    manifest: dict[str, Any] = Field(default_factory=dict)  # free-form: stages add what they measured


class CompletionScored(Body):
    """One resampled completion with its reward. `chosen` tells whether the night trained on it."""

    night: str
    response_id: str
    collection: str = ""
    sample: int
    text: str
    reward: float
    parts: dict[str, float] = Field(default_factory=dict)
    tokens: int = 0
    chosen: bool = False


class Evaluated(Body):
    """One answer of one model on one case of a suite. `score` is 0 to 1; `group` the paired cluster.

    `question` is what was asked, free of personal data; empty in events of older programs.
    """

    night: str
    suite: str
    case: str
    group: str = ""
    model: Literal["stable", "candidate"]
    adapter: str = ""
    answer: str
    score: float
    tokens: int = 0
    latency_s: float = 0.0
    parts: dict[str, float] = Field(default_factory=dict)
    question: str = ""


class DeploymentChanged(Body):
    """A decision about which adapter answers which share of conversations. The fold is in `deployment`."""

    action: Literal["canary", "share", "pause", "resume", "promote", "roll_back", "reject", "base"]
    adapter: str = ""
    share: float = Field(default=0.0, ge=0.0, le=1.0)
    actor: str
    reason: str = ""
    evidence: dict[str, Any] = Field(default_factory=dict)  # free-form: the numbers behind the decision


BODIES: dict[str, type[Body]] = {
    "interaction": Interaction,
    "feedback": Feedback,
    "night": NightChanged,
    "completion": CompletionScored,
    "evaluation": Evaluated,
    "deployment": DeploymentChanged,
}
TOPIC_OF: dict[str, Topic] = {
    "interaction": Topic.INTERACTIONS,
    "feedback": Topic.FEEDBACK,
    "night": Topic.NIGHTS,
    "completion": Topic.NIGHTS,
    "evaluation": Topic.NIGHTS,
    "deployment": Topic.DEPLOYMENTS,
}
_TYPE_OF = {body: name for name, body in BODIES.items()}


class Event(BaseModel):
    """The envelope. `id` is a ULID, unique for ever: the record drops the second of two equal ids.

    `key` orders: events of one key stay in order (a conversation, a night, or `deployments`).
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    v: int = VERSION
    id: str = Field(default_factory=lambda: str(ULID()))
    type: str
    key: str
    at: datetime = Field(default_factory=lambda: datetime.now(UTC))
    body: dict[str, Any]

    @classmethod
    def of(cls, body: Body, key: str, *, id: str | None = None, at: datetime | None = None) -> Self:
        """Wraps a body. Pass `id` when the same event may be sent twice (a resumed night)."""
        values: dict[str, Any] = {
            "type": _TYPE_OF[type(body)],
            "key": key,
            "body": body.model_dump(mode="json"),
        }
        if id is not None:
            values["id"] = id
        if at is not None:
            values["at"] = at
        return cls(**values)

    @property
    def topic(self) -> Topic:
        return TOPIC_OF[self.type]

    def encode(self) -> bytes:
        return self.model_dump_json().encode()

    @classmethod
    def decode(cls, value: bytes) -> Self:
        """Reads an envelope and checks its body; raises as `read`."""
        return cls.read(value)[0]

    @classmethod
    def read(cls, value: bytes) -> tuple[Self, Body]:
        """An envelope and its body as its class.

        Raises:
            EventError: not JSON, not an envelope, an unknown type, a newer version, or a bad body.
        """
        try:
            event = cls.model_validate_json(value)
        except ValidationError as err:
            raise EventError(f"Not an event: {_first(err)}; the bytes begin with {value[:80]!r}.") from err
        if event.v > VERSION:
            raise EventError(
                f"Event {event.id} has version {event.v}, this program reads up to {VERSION}: upgrade it."
            )
        return event, event.parse()

    def parse(self) -> Body:
        """The body as its class.

        Raises:
            EventError: an unknown type, or a body that does not fit its type.
        """
        if self.type not in BODIES:
            raise EventError(
                f"Event {self.id} has the unknown type {self.type!r}; known are {', '.join(BODIES)}."
            )
        try:
            return BODIES[self.type].model_validate(self.body)
        except ValidationError as err:
            raise EventError(f"Event {self.id} of type {self.type!r} has a bad body: {_first(err)}.") from err


def _first(err: ValidationError) -> str:
    """The first complaint of a validation error, in one line."""
    detail = err.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in detail["loc"])
    return f"{where}: {detail['msg']}" if where else str(detail["msg"])
