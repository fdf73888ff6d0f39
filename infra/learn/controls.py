"""Controls: nights and votes that must not pass. What they came to, for people and as JSON. Pure.

A night that learns from answers chosen by lot, or by their length, must be stopped by its gates. A reward
that learns from votes of which some are malicious must not come into use unless it is truly better.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

from infra.demo.customers import Told
from infra.demo.voters import Voters

# Rewards that know nothing of the answer.
REWARDS = ("random", "longest")
VOTERS = "voters"
NAMES = (*REWARDS, VOTERS)
# Forty customers, each asking a handful of questions and voting on all answers; one in ten means harm.
MALICIOUS = Voters(share=1.0, people=40, malicious=4)


@dataclass(frozen=True, slots=True)
class Control:
    """`holds` where what must not pass did not. `before` and `after` are rates of right answers, or areas."""

    name: str
    verdict: str
    holds: bool
    before: float | None
    after: float | None
    why: str

    @classmethod
    def of_night(cls, name: str, manifest: Mapping[str, Any]) -> Control:
        """A night by a reward that knows nothing, from its manifest."""
        rates = manifest.get("pass_rate", {})
        return cls(
            name=name,
            verdict=manifest["verdict"],
            holds=manifest["verdict"] != "pass",
            before=rates.get("stable", {}).get("rate"),
            after=rates.get("candidate", {}).get("rate"),
            why=_why(manifest),
        )

    @classmethod
    def of_votes(
        cls, outcome: Mapping[str, Any], judged: Iterable[Mapping[str, Any]], told: Iterable[Told]
    ) -> Control:
        """A renewal from votes, against what was right: `judged` are its votes with both rewards' values."""
        right = {answer.response_id: answer.right for answer in told}
        rows = [row for row in judged if row["response_id"] in right]
        truth = [right[row["response_id"]] for row in rows]
        before, after = (area([row[name] for row in rows], truth) for name in ("present", "new"))
        verdict = outcome["gate"]["verdict"]
        return cls(
            name=VOTERS,
            verdict=verdict,
            holds=verdict != "pass" or after >= before,
            before=before,
            after=after,
            why=f"{outcome['gate']['detail']}; {outcome['doubted']} of {outcome['voters']} voters doubted",
        )


def area(values: Sequence[float], right: Sequence[bool]) -> float:
    """Chance that a right answer has a higher value than a wrong one, equal ones counting half."""
    good = [value for value, is_right in zip(values, right, strict=True) if is_right]
    bad = [value for value, is_right in zip(values, right, strict=True) if not is_right]
    if not good or not bad:
        return 0.5
    above = sum((one > other) + 0.5 * (one == other) for one in good for other in bad)
    return above / (len(good) * len(bad))


def to_json(controls: Iterable[Control]) -> list[dict[str, Any]]:
    return [asdict(control) for control in controls]


def table(controls: Sequence[Control]) -> Table:
    """One row for each."""
    out = Table(title="Controls: none of these may pass", title_justify="left")
    for name in ("control", "verdict", "holds", "before", "after", "why"):
        out.add_column(name)
    for control in controls:
        out.add_row(
            control.name,
            control.verdict,
            "yes" if control.holds else "NO",
            _rate(control.before),
            _rate(control.after),
            control.why,
        )
    return out


def _rate(rate: float | None) -> str:
    return "" if rate is None else f"{rate:.3f}"


def _why(manifest: Mapping[str, Any]) -> str:
    """The gates that said no."""
    said = [
        f"{gate['name']} {gate['estimate']:+.3f} ({gate['low']:+.3f} to {gate['high']:+.3f})"
        for gate in manifest.get("gates", ())
        if gate["verdict"] != "pass"
    ]
    return "; ".join(said) or " ".join(manifest.get("report", ())[:1])
