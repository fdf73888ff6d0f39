"""What can be set of the agent."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from infra.addresses import url
from infra.sections.base import Port, Section


class AgentSettings(Section):
    # Address of the chat endpoint. Listening beyond loopback needs API keys.
    host: str = "127.0.0.1"
    port: Port = 8080
    # The model name that clients see. It never changes; the adapter behind it does.
    model: str = "nightshift"
    # The business that the system prompt speaks for when a request names no collection.
    collection: str = "default"
    # Facts put into the prompt, best first. Six holds an answering fact for 0.966 of questions.
    facts: Annotated[int, Field(ge=0, le=50)] = 6
    # Longest answer, in tokens.
    max_tokens: Annotated[int, Field(ge=1, le=4096)] = 80
    # Randomness of live answers; 0 gives the most likely one.
    temperature: Annotated[float, Field(ge=0.0, le=2.0)] = 0.0
    # Largest request body, in bytes.
    max_body: Annotated[int, Field(ge=1024)] = 262_144
    # Requests answered at one time, by all engines together; some more wait briefly, all others get 429 with
    # Retry-After.
    max_concurrent: Annotated[int, Field(ge=1)] = 64
    # Seconds until a request to the engine counts as failed.
    timeout_s: Annotated[float, Field(gt=0)] = 60.0

    @property
    def url(self) -> str:
        return url(self.host, self.port)
