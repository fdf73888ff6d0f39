"""Reads what a night measured from its free-form manifest. Pure, and calm about what is missing.

Numbers that are not numbers become None, never an error: an old or a broken night still has a page.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import log
from typing import Any

from infra.dashboard.wording import duration, percent, plural, points

Manifest = Mapping[str, Any]  # free-form: stages of a night add what they measured

_GATE_TEXTS = ("name", "claim", "verdict", "detail")
_GATE_NUMBERS = ("margin", "n", "estimate", "low", "high")


def read(column: object) -> dict[str, Any]:
    """A manifest, evidence or parts column as a dict; empty when it holds something else."""
    if isinstance(column, str):
        try:
            column = json.loads(column)
        except ValueError:
            return {}
    return dict(column) if isinstance(column, Mapping) else {}


def stages(manifest: Manifest) -> list[dict[str, Any]]:
    """Each stage with its seconds and its part (0 to 1) of the whole, in the order of the night."""
    seconds = {name: _float(value) or 0.0 for name, value in read(manifest.get("stages")).items()}
    total = sum(seconds.values()) or 1.0
    return [{"name": name, "seconds": value, "part": value / total} for name, value in seconds.items()]


def gates(manifest: Manifest) -> list[dict[str, Any]]:
    """The gate table: claim, margin, n, estimate, interval and verdict of each gate."""
    found = manifest.get("gates")
    return [_numbers(gate) for gate in found if isinstance(gate, Mapping)] if isinstance(found, list) else []


def rewards(manifest: Manifest) -> list[dict[str, Any]]:
    """Reward beside gate: for stable and candidate the mean reward and the pass rate with interval."""
    reward, rates = read(manifest.get("reward")), read(manifest.get("pass_rate"))
    return [
        {
            "model": model,
            "reward": _float(reward.get(model)),
            **{key: _float(read(rates.get(model)).get(key)) for key in ("rate", "low", "high", "n")},
        }
        for model in ("stable", "candidate")
        if model in reward or model in rates
    ]


def report(manifest: Manifest, verdict: str, reason: str, seconds: float) -> list[str]:
    """The morning report's paragraphs: the trainer's own, or the same told from the figures."""
    written = manifest.get("report")
    if isinstance(written, str) and written.strip():
        return [part.strip() for part in written.split("\n") if part.strip()]
    if isinstance(written, list) and written:
        return [str(part) for part in written]
    return [*_what_happened(manifest, seconds), *_what_came_of_it(manifest, verdict, reason)]


def lines(manifest: Manifest, name: str) -> list[tuple[str, str]]:
    """A nested part of a manifest as rows of a table, groups within groups joined with dots."""
    return list(_flat(read(manifest.get(name))))


def evidence(column: object) -> dict[str, Any]:
    """The numbers behind a canary's decision."""
    content = read(column)
    metrics = content.get("metrics")
    rows = [_numbers(row) for row in metrics if isinstance(row, Mapping)] if isinstance(metrics, list) else []
    for row in rows:
        numbers = ("stable", "canary", "n_stable", "n_canary", "harm", "needed")
        row.update({key: _float(row.get(key)) for key in numbers})
        row["proof"] = _proof(row["harm"], row["needed"])
        if row["estimate"] is None and row["stable"] is not None and row["canary"] is not None:
            row["estimate"] = row["canary"] - row["stable"]
    verdict = str(content.get("verdict", ""))
    return {"metrics": rows, "verdict": verdict, "looked_at": content.get("looked_at")}


def _proof(harm: float | None, needed: float | None) -> float | None:
    """How far evidence that multiplies is on its way, 0 to 1; None where there was none in old events."""
    if harm is None or needed is None or needed <= 1.0:
        return None
    return min(1.0, log(harm) / log(needed)) if harm > 1.0 else 0.0


def _numbers(row: Mapping[str, Any]) -> dict[str, Any]:
    texts = {key: str(row.get(key) or "") for key in _GATE_TEXTS}
    return {**row, **texts, **{key: _float(row.get(key)) for key in _GATE_NUMBERS}}


def _what_happened(manifest: Manifest, seconds: float) -> list[str]:
    counts = {key: int(_float(manifest.get(key)) or 0) for key in ("queries", "completions", "chosen")}
    if not counts["queries"]:
        return []
    return [
        f"Last night the agent looked at {plural(counts['queries'], 'question')} that customers had asked, "
        f"wrote {plural(counts['completions'], 'new answer')} to them, and kept the best {counts['chosen']:,}"
        f" to learn from. That took {duration(seconds)}."
    ]


def _what_came_of_it(manifest: Manifest, verdict: str, reason: str) -> list[str]:
    rates = {row["model"]: row["rate"] for row in rewards(manifest)}
    told = []
    if rates.get("stable") is not None and rates.get("candidate") is not None:
        change = rates["candidate"] - rates["stable"]
        told.append(
            f"On questions that it had never seen, {percent(rates['candidate'])} of its answers were right; "
            f"before it was {percent(rates['stable'])} ({points(change)} points)."
        )
    told.append(
        {
            "pass": "It passed every check, so it now answers a part of the customers on trial.",
            "fail": "It did not pass every check, so nothing changed for customers.",
            "not enough data": "There was too little to judge it by, so nothing changed for customers.",
        }.get(verdict, "This night has not come to a verdict yet.")
    )
    return [*told, reason] if reason else told


def _flat(values: Mapping[str, Any], prefix: str = "") -> Sequence[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            rows.extend(_flat(value, f"{prefix}{key}."))
        else:
            rows.append((f"{prefix}{key}", _told(value)))
    return rows


def _told(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,.4g}" if isinstance(value, float) else f"{value:,}"


def _float(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
