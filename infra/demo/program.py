"""The programme of a demo: what was counted and measured in each act, and whether it all went well."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from rich.table import Table


@dataclass(slots=True)
class Program:
    """Everything the summary tells. An act that was not played leaves its part empty."""

    seed: int
    seconds: dict[str, float] = field(default_factory=dict)
    tokens: dict[str, int] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    night: dict[str, Any] = field(default_factory=dict)  # the night's manifest, as the lake holds it
    canary: dict[str, Any] = field(default_factory=dict)
    drill: dict[str, Any] = field(default_factory=dict)
    customers: dict[str, Any] = field(default_factory=dict)

    @property
    def succeeded(self) -> bool:
        """Gates passed, canary promoted, drill caught, nothing lost, no error seen by a customer."""
        return (
            self.night.get("verdict") == "pass"
            and self.canary.get("verdict") == "promote"
            and bool(self.drill.get("rolled_back"))
            and self.customers.get("errors") == 0
            and self.customers.get("lost") == 0
        )

    def to_json(self) -> dict[str, Any]:
        """As written to `summary.json`."""
        return asdict(self) | {"succeeded": self.succeeded}


def table(program: Program) -> Table:
    """The summary as a person reads it."""
    out = Table(title="What happened", show_header=False, title_justify="left", pad_edge=False)
    out.add_column(style="bold")
    out.add_column()
    for name, value in _rows(program):
        out.add_row(name, value)
    return out


def _rows(program: Program) -> list[tuple[str, str]]:
    night, canary, drill, customers = program.night, program.canary, program.drill, program.customers
    rows = [
        (
            "By day",
            f"{program.counts.get('day', 0)} questions answered, {customers.get('votes', 0)} thumbs, "
            f"{program.counts.get('recorded', 0)} answers recorded in all",
        ),
        (
            "The night",
            f"{night.get('queries', 0)} queries, {night.get('completions', 0)} completions, "
            f"{night.get('chosen', 0)} chosen to learn from",
        ),
    ]
    rates = night.get("pass_rate", {})
    rows += [(f"  {name}", _rate(rates[name])) for name in ("stable", "candidate") if name in rates]
    rows += [(f"  gate: {gate['name']}", _gate(gate)) for gate in night.get("gates", [])]
    rows.append(("  verdict", f"{night.get('verdict', 'no night')} {night.get('reason', '')}".strip()))
    if canary:
        rows.append(
            ("The canary", f"{canary['verdict']} after {canary['seconds']:.0f} s. {canary['reason']}")
        )
    if drill:
        rows.append(("The drill", _drill(drill)))
    rows.append(
        (
            "Customers",
            f"{customers.get('answers', 0)} answers, {customers.get('errors', 0)} errors, "
            f"{customers.get('lost', 0)} lost from the record",
        )
    )
    stages = {name: seconds for name, seconds in program.seconds.items() if name.startswith("night ")}
    acts = {name: seconds for name, seconds in program.seconds.items() if name not in stages}
    rows.append(("Seconds", _times(acts)))
    rows.append(("  of the night", _times({name.removeprefix("night "): s for name, s in stages.items()})))
    rows.append(("Tokens", ", ".join(f"{name} {count}" for name, count in program.tokens.items())))
    return rows


def _times(seconds: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.0f}" for name, value in seconds.items() if value >= 0.5)


def _rate(rate: dict[str, float]) -> str:
    return (
        f"{rate['rate']:.1%} of {rate['n']:.0f} held-out questions right "
        f"(between {rate['low']:.1%} and {rate['high']:.1%})"
    )


def _gate(gate: dict[str, Any]) -> str:
    return f"{gate['verdict']}: {gate['estimate']:+.3f} (between {gate['low']:+.3f} and {gate['high']:+.3f})"


def _drill(drill: dict[str, Any]) -> str:
    if not drill.get("rolled_back"):
        return f"a broken adapter was NOT caught within {drill.get('answers', 0)} of its answers"
    late = drill["roll_back_s"]
    last = f"its last one began {late:.2f} s after the verdict" if late else "none began after the verdict"
    noticed = f"noticed after {drill['answers']} of its answers ({drill['detect_s']:.1f} s)"
    return f"a broken adapter was {noticed}; {last}"
