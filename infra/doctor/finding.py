"""What the doctor says of one thing."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

State = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found. `next_step` is empty where nothing is to be done."""

    name: str
    state: State
    message: str
    next_step: str = ""

    def to_json(self) -> dict[str, str]:
        return asdict(self)
