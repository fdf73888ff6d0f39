"""The report of a night as Markdown. Pure; what customers and models wrote is escaped, so it stays text."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from typing import Any

from infra.dashboard.wording import NONE, duration, number, percent, plural, points
from infra.report.changes import View

# What means something in Markdown, tables included: anywhere, at the beginning of a text, or in an address,
# which would become a link. No more than that, since people read it on terminals too.
_SPECIAL = re.compile(
    r"[\\`*_{}\[\]|~]|^[#+-](?=[#\s]|$)|:(?=//)|(?<=mailto):|(?<=xmpp):|(?<=www)\.", re.IGNORECASE
)
_ITEM = re.compile(r"^(\d+)([.)])(?=\s|$)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]+")
# Rows of the lineage, which is to be looked things up in, not read: all of it is in the JSON.
LINEAGE = 10


def markdown(report: View) -> str:
    """The whole report, a few screens long."""
    sections = (
        ("", _head(report)),
        ("What it learned from", _learned(report["learned"])),
        ("Why it passed or not", _gates(report["gates"])),
        ("Before and after", _measured(report["measured"])),
        ("Answers that changed most", _changes(report["changes"])),
        ("What it cost", _costs(report["costs"])),
        ("Where it comes from", _lineage(report["lineage"])),
    )
    told = [f"## {title}\n\n{text}" if title else text for title, text in sections if text]
    return "\n\n".join(told) + "\n"


def plain(text: object) -> str:
    """A text in one line without control characters, which could write anything on a terminal."""
    return " ".join(_CONTROL.sub(" ", str(text)).split())


def escaped(text: object) -> str:
    """A text in one line that means nothing in Markdown or HTML."""
    special = _SPECIAL.sub(lambda match: "\\" + match[0], html.escape(plain(text), quote=False))
    return _ITEM.sub(r"\1\\\2", special)


def _head(report: View) -> str:
    verdict = report["verdict"] or "running"
    lines = [f"# Night {escaped(report['night'])}: {escaped(verdict)}"]
    return "\n\n".join([*lines, *(escaped(paragraph) for paragraph in report["paragraphs"])])


def _learned(learned: View) -> str:
    if not learned["queries"] and not learned["synthetic"]:
        return ""
    about = f" about {number(learned['collections'])} collections" if learned["collections"] else ""
    own = f", and {number(learned['synthetic'])} that the night wrote itself" if learned["synthetic"] else ""
    told = (
        f"{number(learned['queries'])} questions of customers{about}{own}; {number(learned['completions'])} "
        f"answers were tried, {number(learned['chosen'])} were chosen to learn from."
    )
    examples = [
        f"- {escaped(row['query'] or row['response_id'])}\n  - learned: {escaped(row['text'])}"
        for row in learned["examples"]
    ]
    return "\n\n".join([told, *(["For example:", "\n".join(examples)] if examples else [])])


def _gates(gates: Sequence[View]) -> str:
    if not gates:
        return ""
    lines = [
        f"- **{escaped(gate['name'])}: {escaped(gate['verdict'] or 'not run')}.** {escaped(gate['said'])}"
        for gate in gates
    ]
    rows = (
        (
            gate["name"],
            gate["claim"],
            number(gate["estimate"], 3),
            f"{number(gate['low'], 3)} to {number(gate['high'], 3)}",
            number(gate["margin"], 3),
            number(gate["n"]),
            gate["verdict"],
        )
        for gate in gates
    )
    return (
        "\n".join(lines)
        + "\n\n"
        + _table(("gate", "claim", "measured", "interval", "margin", "cases", "verdict"), rows)
    )


def _measured(measured: Sequence[View]) -> str:
    def cell(row: View, side: str) -> str:
        return percent(row[side], 1) if row["unit"] == "rate" else number(row[side], 1)

    rows = ((row["what"], cell(row, "stable"), cell(row, "candidate")) for row in measured)
    return _table(("", "before", "after"), rows) if measured else ""


def _changes(changes: View) -> str:
    if not changes["cases"]:
        return ""
    counts = changes["counts"]
    told = (
        f"Of {plural(changes['cases'], 'question')}, {plural(counts['fixed'], 'is', 'are')} answered rightly "
        f"now, not before, and {counts['broken']:,} the other way round; {counts['right']:,} stayed right, "
        f"{counts['wrong']:,} wrong. Of these, {changes['reworded']:,} are answered in other words."
    )
    parts = [told, _answers(changes["shown"])]
    if changes["other_broken"]:
        parts += [
            "All other answers that were right before and are wrong now:",
            _answers(changes["other_broken"]),
        ]
    return "\n\n".join(part for part in parts if part)


def _answers(answers: Sequence[View]) -> str:
    rows = (
        (
            answer["question"] or f"case {answer['case']}",
            f"{_right(answer['right_before'])}: {answer['before'] or '(nothing)'}",
            f"{_right(answer['right_after'])}: {answer['after'] or '(nothing)'}",
        )
        for answer in answers
    )
    return _table(("question", "before", "after"), rows) if answers else ""


def _costs(costs: View) -> str:
    if not costs["stages"]:
        return ""
    rows = [(stage["name"], duration(stage["seconds"]), number(stage["tokens"])) for stage in costs["stages"]]
    rows.append(("in all", duration(costs["seconds"]), number(costs["tokens"])))
    return f"{_table(('stage', 'time', 'tokens'), rows)}\n\n{per_point(costs)}"


def per_point(costs: View) -> str:
    """What a percentage point of right answers cost, in a sentence."""
    if costs["points"] is None:
        return "Nothing was compared, so no price of an improvement is known."
    if costs["seconds_per_point"] is None:
        return f"No point of right answers was gained ({points(costs['points'] / 100)})."
    return (
        f"{points(costs['points'] / 100)} points of right answers: "
        f"{duration(costs['seconds_per_point'])} and {number(costs['tokens_per_point'])} tokens for each."
    )


def _lineage(lineage: View) -> str:
    origin = (
        f"Adapter {escaped(lineage['adapter'] or 'none')} of night {escaped(lineage['night'])}, from "
        f"snapshot {escaped(_known(lineage['snapshot']))} of the record and the base model with the hash "
        f"{escaped(_known(lineage['base_hash']))}; "
        f"answers were sampled from {escaped(lineage['stable'] or 'the base model')}."
    )
    answers = lineage["answers"]
    if not answers:
        return origin
    rows = ((row["response_id"], _conversation(row)) for row in answers[:LINEAGE])
    left = len(answers) - LINEAGE
    whole = f"`nightshift night show {escaped(lineage['night'])} --json`"
    more = f"\n\nAnd {left:,} more: {whole}." if left > 0 else ""
    own = sum(bool(row["synthetic"]) for row in answers)
    told = f"It learned beside {plural(len(answers) - own, 'answer')} of "
    told += f"{plural(lineage['conversations'], 'conversation')}."
    told += f" {plural(own, 'question')} more it wrote itself." if own else ""
    return f"{origin} {told}\n\n{_table(('answer', 'conversation'), rows)}{more}"


def _conversation(row: View) -> str:
    if row["synthetic"]:
        return f"none, the night asked itself: {row['query']}"
    return str(row["conversation_id"] or "not in the record any more")


def _right(right: bool) -> str:
    return "right" if right else "wrong"


def _known(value: Any) -> str:
    return NONE if value is None else str(value)


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ("---",) * len(columns)]
    text = [f"| {' | '.join(line)} |" for line in lines]
    return "\n".join([*text, *(f"| {' | '.join(escaped(cell) for cell in row)} |" for row in rows)])
