"""What the nights came to: a row for each, for people and as JSON. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Rated:
    """A model's answers to the held-out questions. Rates are 0 to 1; `low` and `high` bound `rate`.

    `affirmed` and `negated` are None where no question is of that kind. `copied` is the share of answers
    that are a retrieved fact word for word, `words` the median length.
    """

    rate: float
    low: float
    high: float
    affirmed: float | None
    negated: float | None
    copied: float
    words: float

    @classmethod
    def of(cls, manifest: Mapping[str, Any], side: str) -> Rated:
        """`side` is stable or candidate; the manifest is a night's that came to its gates."""
        rate, polarity = manifest["pass_rate"][side], manifest["by_polarity"][side]
        return cls(
            rate["rate"],
            rate["low"],
            rate["high"],
            polarity.get("affirmed"),
            polarity.get("negated"),
            manifest["copies"][side],
            manifest["words"][side],
        )


@dataclass(frozen=True, slots=True)
class Night:
    """One night. `stable` and `candidate` are None where it ended before its gates."""

    number: int
    verdict: str
    reason: str
    queries: int
    rows: int
    tokens: int
    seconds: float
    stable: Rated | None
    candidate: Rated | None

    @classmethod
    def of(cls, number: int, manifest: Mapping[str, Any], reason: str) -> Night:
        judged = "pass_rate" in manifest
        return cls(
            number,
            manifest["verdict"],
            reason,
            manifest["queries"],
            manifest["chosen"],
            manifest.get("tokens", {}).get("resample", 0),
            sum(manifest["stages"].values()),
            Rated.of(manifest, "stable") if judged else None,
            Rated.of(manifest, "candidate") if judged else None,
        )

    @property
    def points(self) -> float:
        """Percentage points won over what served before; 0 where nothing was judged."""
        return 100 * (self.candidate.rate - self.stable.rate) if self.stable and self.candidate else 0.0


def to_json(nights: Sequence[Night], seconds: float, options: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "options": dict(options),
        "seconds": seconds,
        "nights": [asdict(night) | {"points": night.points} for night in nights],
    }


def table(nights: Sequence[Night]) -> Table:
    """Before the first night, then what each made of it. It fits into 80 columns."""
    out = Table(
        title="Held-out questions answered rightly",
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        show_edge=False,
    )
    for name in (
        "night",
        "rows",
        "right\n90% interval",
        "affirmed\nnegated",
        "word for\nword",
        "words",
        "verdict",
        "min",
        "tokens,\ns a point",
    ):
        out.add_column(name, no_wrap=name != "verdict")
    if nights and nights[0].stable:
        out.add_row("none", "", *_rated(nights[0].stable), "", "", "")
    for night in nights:
        rated = _rated(night.candidate) if night.candidate else ("", "", "", "")
        out.add_row(
            str(night.number),
            str(night.rows),
            *rated,
            night.verdict,
            f"{night.seconds / 60:.0f}",
            _cost(night),
        )
    return out


def _rated(rated: Rated) -> tuple[str, str, str, str]:
    return (
        f"{rated.rate:.3f}\n{rated.low:.3f} to {rated.high:.3f}",
        f"{_share(rated.affirmed)}\n{_share(rated.negated)}",
        f"{rated.copied:.0%}",
        f"{rated.words:.0f}",
    )


def _share(share: float | None) -> str:
    return "none" if share is None else f"{share:.2f}"


def _cost(night: Night) -> str:
    """Tokens and seconds for each point won; nothing where none was."""
    if night.points <= 0:
        return ""
    return f"{night.tokens / night.points:.0f}\n{night.seconds / night.points:.0f} s"
