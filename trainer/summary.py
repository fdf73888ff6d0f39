"""What a night tells the record: its completions, its evaluations, its decision, and the manifest of it all.

Pure. The manifest holds what is needed to repeat the night and to explain it in the morning.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any, Literal, TypeVar

from infra.events import CompletionScored, DeploymentChanged, Evaluated
from infra.privacy import redact
from infra.settings import Settings
from trainer.evaluate import Answered
from trainer.gates import Gate, Verdict, diverged, mean_interval
from trainer.notes import (
    Chosen,
    Conduct,
    Curated,
    Evaluation,
    Gated,
    Note,
    Registered,
    Rehearsed,
    Resampled,
    Scored,
    Synthesised,
)
from trainer.report import report, said
from trainer.suite import SuiteCase
from trainer.words import length

Noted = TypeVar("Noted", bound=Note)


def completion_events(
    night: str, chosen: Chosen, resampled: Resampled, scored: Scored, curated: Curated
) -> Iterator[CompletionScored]:
    """Every completion with its reward, and whether the night learned from it.

    `chosen` holds the night's own questions too: the ids of their completions stand beside no interaction.
    """
    picked = {(row.response_id, row.sample) for row in curated.rows}
    for query, group, rewards in zip(chosen.queries, resampled.groups, scored.rewards_Q_N, strict=True):
        for sample, (text, reward) in enumerate(zip(group.texts, rewards, strict=True)):
            yield CompletionScored(
                night=night,
                response_id=query.response_id,
                collection=query.collection,
                sample=sample,
                text=text,
                reward=reward.value,
                parts=dict(reward.parts),
                tokens=group.tokens // len(group.texts),
                chosen=(query.response_id, sample) in picked,
            )


def evaluation_events(
    night: str, cases: Sequence[SuiteCase], evaluation: Evaluation, stable: str, candidate: str
) -> Iterator[Evaluated]:
    """Both models' answers to every case."""
    sides: tuple[tuple[Literal["stable", "candidate"], str, tuple[Answered, ...]], ...] = (
        ("stable", stable, evaluation.stable),
        ("candidate", candidate, evaluation.candidate),
    )
    for model, adapter, answers in sides:
        for case, answered in zip(cases, answers, strict=True):
            yield Evaluated(
                night=night,
                suite=case.suite,
                case=case.id,
                group=case.group,
                model=model,
                adapter=adapter,
                answer=answered.answer,
                score=float(answered.passed),
                tokens=answered.tokens,
                latency_s=answered.latency_s,
                parts={"negated": float(answered.negated), "copied": float(answered.copied)},
                question=redact(case.question).text,
            )


def deployment_event(
    night: str, adapter: str, gated: Gated, share: float, why: str
) -> DeploymentChanged | None:
    """Canary for a candidate that passed, reject for one that failed, nothing where data was lacking.

    `why` tells of the share, empty where there is nothing to tell.
    """
    if gated.verdict is Verdict.NOT_ENOUGH_DATA:
        return None
    passed = gated.verdict is Verdict.PASS
    return DeploymentChanged(
        action="canary" if passed else "reject",
        adapter=adapter,
        share=share if passed else 0.0,
        actor=f"night {night}",
        reason=f"All gates passed. {why}".strip() if passed else gated.reason,
        evidence={"gates": [gate.model_dump(mode="json") for gate in gated.gates]},
    )


class Summary:
    """Collects the notes of one night as its stages finish."""

    def __init__(self, settings: Settings, versions: Mapping[str, str]) -> None:
        self._settings = settings
        self._versions = dict(versions)
        self._notes: dict[type[Note], Note] = {}

    def note(self, note: Noted) -> Noted:
        """Remembers a stage's result and hands it on."""
        self._notes[type(note)] = note
        return note

    @property
    def adapter(self) -> str:
        """The candidate's name, empty before there is one."""
        registered = self._get(Registered)
        return registered.adapter if registered else ""

    def manifest(self, seconds: Mapping[str, float], verdict: Verdict, reason: str) -> dict[str, Any]:
        """All of it as plain values. Parts of stages that did not run are missing."""
        trainer = self._settings.trainer
        chosen, resampled, curated = self._get(Chosen), self._get(Resampled), self._get(Curated)
        gated, written, rehearsed = self._get(Gated), self._get(Synthesised), self._get(Rehearsed)
        gates, told = (gated.gates, gated.told) if gated else ((), ())
        counts = {
            "queries": len(chosen.queries) if chosen else 0,
            "completions": resampled.completions if resampled else 0,
            "chosen": len(curated.rows) if curated else 0,
            "replayed": len(curated.replayed) if curated else 0,
        }
        return {
            "seed": trainer.seed,
            "settings": trainer.model_dump(mode="json"),
            "versions": self._versions,
            "stages": dict(seconds),
            "verdict": str(verdict),
            "gates": _gates(gates),
            "told": _gates(told),
            "diverged": diverged(gates),
            "report": report(
                **counts,
                gates=gates,
                told=told,
                verdict=verdict,
                reason=reason,
                synthetic=len(written.queries) if written else 0,
                rehearsed=len(rehearsed.rows) if rehearsed else 0,
            ),
            **counts,
            **self._origin(),
            **self._synthetic(),
            **self._rehearsed(),
            **self._rewards(),
            **self._answers(),
        }

    def _origin(self) -> dict[str, Any]:
        chosen, registered = self._get(Chosen), self._get(Registered)
        origin: dict[str, Any] = {}
        if chosen:
            origin |= {"snapshot": chosen.snapshot, "stable": chosen.stable, "logged": chosen.logged}
            origin["collections"] = len({query.collection for query in chosen.queries})
        if registered:
            origin |= {"base_hash": registered.base_hash, "training": registered.model_dump(mode="json")}
        return origin

    def _synthetic(self) -> dict[str, Any]:
        """Counts of the night's own questions, and those that it learned beside, which no record holds."""
        written, curated = self._get(Synthesised), self._get(Curated)
        if not written or not written.asked:
            return {}
        learned = {row.response_id for row in curated.rows} if curated else set()
        questions = {
            query.response_id: query.query for query in written.queries if query.response_id in learned
        }
        return {
            "synthetic": {
                "asked": written.asked,
                "kept": len(written.queries),
                "dropped": written.dropped,
                "chosen": len(questions),
                "questions": questions,
            }
        }

    def _rehearsed(self) -> dict[str, Any]:
        rehearsed = self._get(Rehearsed)
        if not rehearsed or not rehearsed.asked:
            return {}
        return {"rehearsed": {"asked": rehearsed.asked, "learned": len(rehearsed.rows)}}

    def _rewards(self) -> dict[str, Any]:
        scored, curated, gated = self._get(Scored), self._get(Curated), self._get(Gated)
        if not scored or not curated:
            return {}
        return {
            "reward": {
                "all_samples": scored.mean(),
                "chosen": curated.mean(),
                **(gated.rewards if gated else {}),
            },
            "reward_model": {"name": scored.model, "version": scored.version},
            **({"second": gated.second, "second_model": gated.second_model} if gated else {}),
        }

    def _answers(self) -> dict[str, Any]:
        evaluation, resampled = self._get(Evaluation), self._get(Resampled)
        written = self._get(Synthesised)
        tokens = {"synthesise": written.tokens} if written and written.asked else {}
        tokens |= {"resample": resampled.tokens} if resampled else {}
        rehearsed = self._get(Rehearsed)
        tokens |= {"rehearse": rehearsed.tokens} if rehearsed and rehearsed.asked else {}
        if not evaluation:
            return {"tokens": tokens}
        sides = {"stable": evaluation.stable, "candidate": evaluation.candidate}
        return {
            "tokens": tokens
            | {f"evaluate {name}": sum(a.tokens for a in side) for name, side in sides.items()},
            "pass_rate": {name: self._rate(evaluation, side) for name, side in sides.items()},
            "by_polarity": {name: _by_polarity(side) for name, side in sides.items()},
            "copies": {name: _share([a.copied for a in side]) for name, side in sides.items()},
            "words": {name: median(length(a.answer) for a in side) for name, side in sides.items()},
            "conduct": self._conduct(),
        }

    def _conduct(self) -> dict[str, dict[str, float]]:
        """The share of cases that each suite of conduct saw passed, by model."""
        conducted = self._get(Conduct)
        if not conducted:
            return {}
        sides = {"base": conducted.base, "stable": conducted.stable, "candidate": conducted.candidate}
        shares: dict[str, dict[str, float]] = {}
        for suite in sorted({case.suite for case in conducted.cases}):
            places = [place for place, case in enumerate(conducted.cases) if case.suite == suite]
            shares[suite] = {
                name: _share([side[place].passed for place in places]) for name, side in sides.items() if side
            }
        return shares

    def _rate(self, evaluation: Evaluation, side: Sequence[Answered]) -> dict[str, float]:
        trainer = self._settings.trainer
        groups: dict[str, list[float]] = {}
        for prompted, answered in zip(evaluation.prompts, side, strict=True):
            groups.setdefault(prompted.group, []).append(float(answered.passed))
        rate, low, high = mean_interval(groups, trainer.alpha, trainer.seed)
        return {"rate": rate, "low": low, "high": high, "n": len(side)}

    def _get(self, kind: type[Noted]) -> Noted | None:
        note = self._notes.get(kind)
        assert note is None or isinstance(note, kind)
        return note


def _gates(gates: Sequence[Gate]) -> list[dict[str, Any]]:
    return [{**gate.model_dump(mode="json"), "said": said(gate)} for gate in gates]


def _by_polarity(side: Sequence[Answered]) -> dict[str, float]:
    """The share of right answers, where there is a question of that kind."""
    passed = {
        "affirmed": [a.passed for a in side if not a.negated],
        "negated": [a.passed for a in side if a.negated],
    }
    return {name: _share(flags) for name, flags in passed.items() if flags}


def _share(flags: Sequence[bool]) -> float:
    return sum(flags) / len(flags) if flags else 0.0
