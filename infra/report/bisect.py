"""Which night broke, or mended, one question: from the evaluations and the deployments in the record.

It runs nothing anew: a night knows both models' answers to each case, and the deployments tell which of the
candidates came to serve everybody. `read` and `read_case` ask the record, all else is pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from infra.deployment import Deployment, apply
from infra.errors import NotFound
from infra.events import DeploymentChanged
from infra.privacy import redact
from infra.report.changes import RIGHT, View
from infra.report.night import Query

Row = Mapping[str, Any]
# Cases that a part of a question may mean before one has to say more.
CASES = 50
# Cases that an error names, when several are meant.
NAMED = 8


def read(query: Query, asked: str) -> View:
    """What the record knows of a question, by queries on it. See `meant` for what `asked` may be.

    `text` is what was looked for, `cases` are at most `CASES` that may be meant, `more` tells whether there
    are others. `found` is the history of the only one (see `bisect`) with its sentences as `told`; None when
    none or several are meant.
    """
    # The record holds questions without personal data, so what is looked for must have none either.
    text = redact(asked).text.strip()
    cases = meant(query("evaluated_cases", text=text, limit=CASES + 1), text)
    found = _history(query, cases[0]) if len(cases) == 1 else None
    return {"text": text, "cases": cases[:CASES], "more": len(cases) > CASES, "found": found}


def read_case(query: Query, suite: str, case_id: str) -> View:
    """The history of one case, as `found` of `read`, by its exact name.

    Raises:
        NotFound: no night has judged such a case.
    """
    rows = query("evaluated_cases", text=f"{suite}/{case_id}", limit=CASES)
    case = next((row for row in rows if (row["suite"], row["case_id"]) == (suite, case_id)), None)
    if case is None:
        raise NotFound(
            f"No night has judged a case {case_id!r} of the suite {suite!r}: search for its question."
        )
    return _history(query, case)


def chosen(known: View) -> View:
    """`found` of what `read` gives.

    Raises:
        NotFound: none or several cases are meant; the message names them.
    """
    asked, cases = known["text"], known["cases"]
    if not cases:
        raise NotFound(
            f"No night has judged {asked!r}: give the id of a suite's case, or words of its question "
            "(questions are in the record since this version's nights)."
        )
    if len(cases) > 1:
        names = ", ".join(_name(case) for case in cases[:NAMED])
        raise NotFound(
            f"{asked!r} may mean {names}{' and more' if len(cases) > NAMED else ''}: name one of them."
        )
    found: View = known["found"]
    return found


def meant(cases: Sequence[Row], asked: str) -> list[Row]:
    """The cases that are meant: by id, by suite/id, by the whole question, or by a part of either.

    `cases` are rows of `evaluated_cases`: what holds `asked` anywhere.
    """
    return (
        [case for case in cases if asked in (case["case_id"], _name(case))]
        or [case for case in cases if (case["question"] or "").casefold() == asked.strip().casefold()]
        or list(cases)
    )


def promotions(deployments: Iterable[Row]) -> dict[str, datetime]:
    """When each adapter first became stable, by the fold that the agents use. Rows come oldest first."""
    state, found = Deployment(), dict[str, datetime]()
    for row in deployments:
        change = DeploymentChanged(
            action=row["action"], adapter=row["adapter"], share=row["share"], actor=row["actor"]
        )
        before, state = state.stable, apply(state, change)
        if row["action"] == "promote" and state.stable != before:
            found.setdefault(state.stable, row["at"])
    return found


def bisect(case: Row, rows: Iterable[Row], promoted: Mapping[str, datetime]) -> View:
    """Both answers of each night, oldest first, and the first promoted nights that broke and mended the case.

    `rows` are of `case_history`. `shifted` are nights where a model answers rightly what the same model
    answered wrongly before, or the reverse: then no night did it, but the documents, the prompt or the suite.
    """
    nights = [_night(row, promoted) for row in rows if row["suite"] == case["suite"]]
    served = sorted(
        (night for night in nights if night["promoted_at"]), key=lambda night: night["promoted_at"]
    )
    return {
        "suite": case["suite"],
        "case": case["case_id"],
        "collection": case["group_id"] or "",
        "question": case["question"] or "",
        "broke": _first(served, right_before=True),
        "fixed": _first(served, right_before=False),
        "shifted": _shifted(nights),
        "nights": nights,
    }


def sentences(found: View) -> list[str]:
    """What was found, in words."""
    broke, fixed = found["broke"], found["fixed"]
    told = [
        f"Night {broke['night']} broke it: its adapter {broke['after']['adapter']} answers wrongly what was "
        f"answered rightly before, and serves since {broke['promoted_at']:%Y-%m-%d %H:%M} UTC."
        if broke
        else "No night whose adapter was promoted broke it."
    ]
    if fixed:
        told.append(f"Night {fixed['night']} mended it.")
    return told + [_told(night) for night in found["shifted"]]


def _history(query: Query, case: Row) -> View:
    promoted = promotions(query("deployment_history"))
    found = bisect(case, query("case_history", text=case["case_id"]), promoted)
    return {**found, "told": sentences(found)}


def _told(shift: View) -> str:
    now, before = ("rightly", "wrongly") if shift["right"] else ("wrongly", "rightly")
    return (
        f"In night {shift['night']} {shift['adapter'] or 'the base model'} answered {now}, before that "
        f"{before}: not the model changed, but the documents, the prompt or the suite."
    )


def _night(row: Row, promoted: Mapping[str, datetime]) -> View:
    adapter = row["candidate_adapter"] or ""
    return {
        "night": row["night"],
        "at": row["at"],
        "verdict": row["verdict"] or "",
        "promoted_at": promoted.get(adapter) if adapter else None,
        "before": _side(row, "stable"),
        "after": _side(row, "candidate"),
    }


def _side(row: Row, model: str) -> View:
    score = row[f"{model}_score"]
    return {
        "adapter": row[f"{model}_adapter"] or "",
        "answer": row[f"{model}_answer"] or "",
        "score": score,
        "right": None if score is None else score >= RIGHT,
    }


def _first(served: Iterable[View], *, right_before: bool) -> View | None:
    """The first promoted night that turned a right answer wrong, or a wrong one right."""
    turned = (right_before, not right_before)
    return next(
        (night for night in served if (night["before"]["right"], night["after"]["right"]) == turned), None
    )


def _shifted(nights: Iterable[View]) -> list[View]:
    known: dict[str, bool] = {}
    found = []
    for night in nights:
        for side in (night["before"], night["after"]):
            if side["right"] is None:
                continue
            if known.get(side["adapter"], side["right"]) != side["right"]:
                found.append({"night": night["night"], "adapter": side["adapter"], "right": side["right"]})
            known[side["adapter"]] = side["right"]
    return found


def _name(case: Row) -> str:
    return f"{case['suite']}/{case['case_id']}"
