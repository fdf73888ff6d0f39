"""One night, told from its row and manifest, its evaluations and its chosen completions: plain values.

The figures are the trainer's own. Nothing is judged here; what an old or a broken night lacks is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from infra.dashboard import manifest as manifests
from infra.dashboard.manifest import Manifest
from infra.errors import NotFound
from infra.report.changes import View, changes

Row = Mapping[str, Any]
Query = Callable[..., list[dict[str, Any]]]  # a named query with its parameters

# Chosen answers that are shown whole; all of them are in the lineage.
EXAMPLES = 5
# Chosen answers, and cases of suites, that are read: several times what a night has today.
ROWS = 2000
CASES = 10_000


def read(query: Query, night: str) -> View:
    """The report of a night, by queries on the record.

    Raises:
        NotFound: no event of such a night is in the record.
    """
    rows = query("night", night=night)
    if not rows:
        raise NotFound(f"The record has no night {night!r}: `nightshift night list` shows them all.")
    stages = {stage["stage"]: stage["seconds"] for stage in query("stages", night=night)}
    return told(
        rows[0],
        stages,
        query("learned_from", night=night, limit=ROWS),
        query("evaluation_cases", night=night, limit=CASES),
    )


def told(row: Row, done: Mapping[str, float], learned: Sequence[Row], cases: Iterable[Row]) -> View:
    """The report. `row` is the night's, `done` the seconds of its finished stages by name.

    `learned` are rows of `learned_from`, `cases` of `evaluation_cases`.
    """
    manifest = manifests.read(row["manifest"])
    manifest = manifest if manifest.get("stages") else {**manifest, "stages": dict(done)}
    learned = _asked(manifest, learned)
    names = ("night", "slot", "started_at", "ended_at", "state", "stage", "verdict", "adapter", "seconds")
    return {
        **{name: row[name] for name in names},
        "paragraphs": manifests.report(manifest, row["verdict"], row["reason"], row["seconds"]),
        "diverges": manifest.get("diverged") is True,
        "learned": _learned(manifest, learned),
        "gates": [{**gate, "said": said(gate)} for gate in manifests.gates(manifest)],
        "measured": measured(manifest),
        "changes": changes(cases),
        "costs": costs(manifest),
        "lineage": _lineage(row, manifest, learned),
    }


def said(gate: Mapping[str, Any]) -> str:
    """A gate in words: the trainer's own, or its claim and figures as they are."""
    if gate.get("said"):
        return str(gate["said"])
    claim = f"{gate['claim'].rstrip('.')}."
    figures = [gate[name] for name in ("estimate", "low", "high", "margin")]
    if any(figure is None for figure in figures):
        return f"{claim} {gate['detail'] or 'Not measured'}."
    estimate, low, high, margin = figures
    return (
        f"{claim} Measured {estimate:+.3f} on {gate['n'] or 0:,.0f} questions, by chance between "
        f"{low:+.3f} and {high:+.3f}; the limit is {margin:+.3f}."
    )


def measured(manifest: Manifest) -> list[View]:
    """Both models side by side, a row for each figure. `unit` is rate (0 to 1) or words."""
    rates = {row["model"]: row for row in manifests.rewards(manifest)}
    by_polarity = manifests.read(manifest.get("by_polarity"))
    sides = {
        "Right answers": {model: row["rate"] for model, row in rates.items()},
        "Right, where the answer affirms": _of_polarity(by_polarity, "affirmed"),
        "Right, where the answer negates": _of_polarity(by_polarity, "negated"),
        "Word-for-word copies of a fact": manifests.read(manifest.get("copies")),
        "Words of the median answer": manifests.read(manifest.get("words")),
    }
    return [
        {
            "what": what,
            "unit": "words" if what.startswith("Words") else "rate",
            "stable": _number(values.get("stable")),
            "candidate": _number(values.get("candidate")),
        }
        for what, values in sides.items()
        if _number(values.get("stable")) is not None or _number(values.get("candidate")) is not None
    ]


def costs(manifest: Manifest) -> View:
    """Seconds and tokens of each stage, in all, and for each point of right answers that was gained, if any.

    `tokens` is None where a stage makes or reads none. Fine-tuning's count prompts and answers over all
    epochs, the others' are those that the engine wrote.
    """
    tokens = {name: _number(count) or 0 for name, count in manifests.read(manifest.get("tokens")).items()}
    trained = _number(manifests.read(manifest.get("training")).get("tokens"))
    if trained is not None:
        tokens["finetune"] = trained
    stages = [
        {**stage, "tokens": sum(known) if (known := _of_stage(stage["name"], tokens)) else None}
        for stage in manifests.stages(manifest)
    ]
    seconds, count = sum(stage["seconds"] for stage in stages), sum(stage["tokens"] or 0 for stage in stages)
    points = _gained(manifest)
    gained = points if points and points > 0 else None
    return {
        "stages": stages,
        "seconds": seconds,
        "tokens": count,
        "points": points,
        "seconds_per_point": seconds / gained if gained else None,
        "tokens_per_point": count / gained if gained else None,
    }


def _asked(manifest: Manifest, learned: Sequence[Row]) -> list[Row]:
    """Rows with the questions that the night wrote itself, which no interaction in the record holds."""
    written = manifests.read(manifests.read(manifest.get("synthetic")).get("questions"))
    return [
        {
            **row,
            "query": row["query"] or written.get(row["response_id"]),
            "synthetic": row["response_id"] in written,
        }
        for row in learned
    ]


def _learned(manifest: Manifest, learned: Sequence[Row]) -> View:
    counts = {
        name: _number(manifest.get(name))
        for name in ("logged", "queries", "collections", "completions", "chosen")
    }
    if counts["collections"] is None and learned:  # a night of an older program
        counts["collections"] = len({row["collection"] for row in learned})
    counts["synthetic"] = _number(manifests.read(manifest.get("synthetic")).get("kept"))
    return {**counts, "examples": [dict(row) for row in spread(learned, EXAMPLES)]}


def spread(rows: Sequence[Row], limit: int) -> list[Row]:
    """At most `limit` rows, of different collections first."""
    seen: set[str] = set()
    firsts: list[Row] = []
    others: list[Row] = []
    for row in rows:
        (others if row["collection"] in seen else firsts).append(row)
        seen.add(row["collection"])
    return (firsts + others)[:limit]


def _lineage(row: Row, manifest: Manifest, learned: Sequence[Row]) -> View:
    """From the adapter to the conversations; an answer whose conversation was forgotten has none.

    Nor has the answer to a question that the night wrote itself, which is `synthetic`.
    """
    columns = ("response_id", "conversation_id", "collection", "query", "synthetic")
    rows = [{name: one[name] for name in columns} for one in learned]
    names = ("snapshot", "stable", "base_hash", "seed")
    return {
        "adapter": row["adapter"],
        "night": row["night"],
        **{name: manifest.get(name) for name in names},
        "answers": rows,
        "conversations": len({one["conversation_id"] for one in rows if one["conversation_id"]}),
    }


def _of_polarity(by_polarity: Mapping[str, Any], polarity: str) -> dict[str, Any]:
    return {model: manifests.read(by_polarity.get(model)).get(polarity) for model in ("stable", "candidate")}


def _of_stage(stage: str, tokens: Mapping[str, float]) -> list[float]:
    """Counts of a stage: under its name, or its name and more (evaluate stable, evaluate candidate)."""
    return [count for name, count in tokens.items() if name == stage or name.startswith(f"{stage} ")]


def _gained(manifest: Manifest) -> float | None:
    """Percentage points of right answers, candidate against stable."""
    rates = {row["model"]: row["rate"] for row in manifests.rewards(manifest)}
    if rates.get("stable") is None or rates.get("candidate") is None:
        return None
    return float(rates["candidate"] - rates["stable"]) * 100


def _number(value: object) -> float | int | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
