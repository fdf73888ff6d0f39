"""Whether a bad adapter was caught, how, and how soon. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

from infra.demo.customers import Told
from infra.follow import Change


@dataclass(frozen=True, slots=True)
class Caught:
    """One trial's end. `detect_s` are seconds from its first answer, or from when it went on canary where it
    gave none, to the verdict; `roll_back_s` from that to the start of its last answer, 0 if none began later.
    """

    adapter: str
    rolled_back: bool
    answers: int
    reason: str
    detect_s: float | None = None
    roll_back_s: float | None = None

    @classmethod
    def of(cls, adapter: str, told: Iterable[Told], history: Iterable[Change]) -> Caught:
        """From what customers were told, and what the deployments topic says of it."""
        asked = [answer.asked_at for answer in told if answer.adapter == adapter]
        changes = {change.body.action: change for change in history if change.body.adapter == adapter}
        if "roll_back" not in changes:
            return cls(adapter, False, len(asked), "Not rolled back when the questions ran out.")
        verdict = changes["roll_back"].at.timestamp()
        began = min(asked, default=changes["canary"].at.timestamp())
        return cls(
            adapter=adapter,
            rolled_back=True,
            answers=len(asked),
            reason=changes["roll_back"].body.reason,
            detect_s=round(verdict - began, 2),
            roll_back_s=round(max(0.0, max(asked, default=verdict) - verdict), 2),
        )

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def table(trials: Sequence[tuple[str, Caught]]) -> Table:
    """A row for each bad adapter, by what is wrong with it."""
    out = Table(
        "the adapter", "caught", "its answers", "noticed, s", "last one after, s", "why", title="The drill"
    )
    for wrong, trial in trials:
        seconds = (
            ["", ""]
            if trial.detect_s is None or trial.roll_back_s is None
            else [f"{trial.detect_s:.1f}", f"{trial.roll_back_s:.2f}"]
        )
        out.add_row(wrong, "yes" if trial.rolled_back else "NO", str(trial.answers), *seconds, trial.reason)
    return out
