"""What can be set of the engine, and which ones share the agent's requests."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator

from infra.addresses import url
from infra.sections.base import Port, Section


class EngineSettings(Section):
    # Where the engine answers. `nightshift engine` starts one there.
    host: str = "127.0.0.1"
    port: Port = 8000
    # Further engines with the same base model, as "http://host:port", that share the agent's requests with
    # that one. Each must find the adapters under the agent's own path. Nights ask the first one alone.
    others: tuple[str, ...] = ()
    # Folder of the base model (safetensors and tokenizer), or a hub name where a hub can be reached.
    base: str = "smollm2-135m"
    # auto: bfloat16 where the processor computes it (AVX512-BF16, AMX, a GPU), else float32.
    dtype: Literal["auto", "bfloat16", "float32", "float16"] = "auto"
    # Longest prompt and answer together, in tokens.
    max_model_len: Annotated[int, Field(ge=256)] = 2048
    # Adapters computed in one batch: stable, canary and a candidate under evaluation.
    max_loras: Annotated[int, Field(ge=1)] = 3
    # Largest adapter rank that the engine takes.
    max_rank: Literal[1, 8, 16, 32, 64, 128] = 16

    @property
    def url(self) -> str:
        return url(self.host, self.port)

    @property
    def urls(self) -> tuple[str, ...]:
        """All engines, each once, the one at `host` and `port` first."""
        return tuple(dict.fromkeys((self.url, *self.others)))

    @field_validator("others")
    @classmethod
    def _addresses(cls, others: tuple[str, ...]) -> tuple[str, ...]:
        for other in others:
            if not re.fullmatch(r"https?://[^/@\s?#]+", other):
                raise ValueError(f"{other!r} is no engine's address: write it as http://host:port")
        return others
