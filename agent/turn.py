"""One query and what becomes of it: everything that the record will hold of it, gathered in one place.

Makes no decision and does no I/O: `chat` fills it in, `recorder` writes it down.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal

from agent.prompt import Prompt
from agent.reply import Reply
from agent.routing import Route
from infra.events import Fact, Interaction

Status = Literal["ok", "error", "cancelled"]


@dataclass(slots=True)
class Turn:
    """`arrived` is a `time.perf_counter()`; `first_token_s` is set when the first text comes in a stream."""

    arrived: float
    response_id: str
    conversation_id: str
    user: str
    collection: str
    facts: tuple[Fact, ...]
    prompt: Prompt
    turns: int
    route: Route
    reply: Reply
    streamed: bool
    first_token_s: float | None = None

    def interaction(self, status: Status, error: str = "") -> Interaction:
        """The event's body as things stand now. It still holds personal data."""
        return Interaction(
            response_id=self.response_id,
            conversation_id=self.conversation_id,
            turn=self.turns,
            user=self.user,
            collection=self.collection,
            query=self.prompt.history[-1].content,
            prompt=self.prompt.messages,
            facts=self.facts,
            answer=self.reply.text,
            arm=self.route.arm,
            adapter=self.reply.adapter,
            canary=self.route.canary,
            fallback_from=self.reply.fallback_from,
            status=status,
            error=error or self.reply.error,
            finish_reason=self.reply.finish_reason,
            prompt_tokens=self.reply.prompt_tokens,
            completion_tokens=self.reply.completion_tokens,
            first_token_s=self.first_token_s,
            latency_s=round(time.perf_counter() - self.arrived, 6),
            streamed=self.streamed,
        )

    def spoke(self) -> None:
        """Notes the time of the first text."""
        if self.first_token_s is None:
            self.first_token_s = round(time.perf_counter() - self.arrived, 6)
