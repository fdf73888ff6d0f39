"""Watches the canary: reads what was recorded on both arms, judges, and acts on the verdict by itself.

The judgement is `canary`'s; this is its caller. Whatever it decides, it decides by appending one event.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from infra.eventlog.base import EventLog
from infra.events import Arm, DeploymentChanged, Event, Fact, Topic
from infra.follow import Deployments
from infra.sections import CanarySettings
from trainer.canary import Judgement, Verdict, judge
from trainer.canary_metrics import Outcome
from trainer.reward.model import Case, Reward, RewardModel
from trainer.trial import Trial, waits
from trainer.words import declines, length

logger = logging.getLogger(__name__)

# Reads the outcomes recorded on both arms of the named canary since the given time, oldest first.
Recorded = Callable[[str, datetime], list[dict[str, Any]]]
# Clocks of two machines may differ by this much; a row from before the canary names no canary anyway.
_SKEW = timedelta(minutes=5)
# A look reads the last minute anew, and once in a while everything: thumbs and next words come later than the
# answers that they are about, and a trial at 1% has a hundred times as many answers as the canary gave. So
# many seconds apart, and at least so many times what it took.
_OVERLAP = timedelta(minutes=1)
_ANEW_S, _ANEW_TIMES = 60.0, 20.0

_ACTIONS: dict[Judgement, Any] = {
    Judgement.PROMOTE: "promote",
    Judgement.STEP: "share",
    Judgement.ROLL_BACK: "roll_back",
}
_APPEND_S = 30.0


class Watch:
    """Looks at the canary that is on, if one is. Used by one thread; `told` may be read by any.

    `told` is the last look as plain values, empty without a canary.
    """

    def __init__(
        self, log: EventLog, recorded: Recorded, reward: RewardModel, settings: CanarySettings
    ) -> None:
        self._log = log
        self._recorded = recorded
        self._reward = reward
        self._settings = settings
        self._deployments = Deployments(log)
        self._rewards: dict[str, Reward] = {}
        self._seen: dict[str, Outcome] = {}
        self._newest: datetime | None = None
        self._anew_at = 0.0  # by the monotonic clock
        self._canary = ""
        self.told: dict[str, Any] = {}

    def look(self) -> Verdict | None:
        """One look: the verdict on the present canary, acted on unless it says hold. None without a canary.

        Raises:
            LakeError: the record cannot be read.
            EventLogError: the decision could not be appended; the next look decides again.
        """
        self._deployments.poll()
        trial = Trial.of(self._deployments.history)
        if trial is None:
            self._forget("")
            self.told = {}
            return None
        now = datetime.now(UTC)
        verdict = self._braked(judge(self.outcomes(trial), trial, self._settings, now), trial, now)
        self.told = _told(trial, verdict, now)
        if verdict.judgement is not Judgement.HOLD:
            self._decide(trial.canary, verdict)
        return verdict

    def outcomes(self, trial: Trial) -> list[Outcome]:
        """What was recorded during the trial; each answer is judged once."""
        if trial.canary != self._canary:
            self._forget(trial.canary)
        rows = self._rows(trial)
        fresh = [row for row in rows if row["response_id"] not in self._rewards]
        for row, reward in zip(fresh, self._reward.score([_case(row) for row in fresh]), strict=True):
            self._rewards[row["response_id"]] = reward
        for row in rows:
            self._seen[row["response_id"]] = _outcome(row, self._rewards[row["response_id"]], trial)
        return list(self._seen.values())

    def close(self) -> None:
        """Lets go of the deployments reader."""
        self._deployments.close()

    def _rows(self, trial: Trial) -> list[dict[str, Any]]:
        """What is new, or all of it."""
        began, since = time.monotonic(), trial.began - _SKEW
        whole = self._newest is None or began >= self._anew_at
        if self._newest and not whole:
            since = max(since, self._newest - _OVERLAP)
        rows = self._recorded(trial.canary, since)
        self._newest = rows[-1]["at"] if rows else self._newest
        if whole:
            now = time.monotonic()
            self._anew_at = now + max(_ANEW_S, _ANEW_TIMES * (now - began))
        return rows

    def _forget(self, canary: str) -> None:
        self._rewards.clear()
        self._seen.clear()
        self._newest, self._canary = None, canary

    def _braked(self, verdict: Verdict, trial: Trial, now: datetime) -> Verdict:
        """A verdict that would go on holds while the canary is paused, or another was promoted today."""
        brake = ""
        if verdict.judgement in (Judgement.STEP, Judgement.PROMOTE) and trial.paused_by:
            brake = f"It is paused by {trial.paused_by}."
        elif verdict.judgement is Judgement.PROMOTE:
            brake = waits(self._deployments.history, self._settings, now)
        if not brake:
            return verdict
        return replace(verdict, judgement=Judgement.HOLD, reason=f"{brake} {verdict.reason}", share=0.0)

    def _decide(self, canary: str, verdict: Verdict) -> None:
        change = DeploymentChanged(
            action=_ACTIONS[verdict.judgement],
            adapter=canary,
            share=verdict.share,
            actor="canary",
            reason=verdict.reason,
            evidence={
                "metrics": self.told["metrics"],
                "verdict": str(verdict.judgement),
                "looked_at": self.told["looked_at"],
            },
        )
        event = Event.of(change, key=Topic.DEPLOYMENTS)
        self._log.append(event.topic, event.key, event.encode()).result(timeout=_APPEND_S)
        logger.info("canary %s: %s. %s", canary, verdict.judgement, verdict.reason)


def _told(trial: Trial, verdict: Verdict, now: datetime) -> dict[str, Any]:
    return {
        "canary": trial.canary,
        "share": trial.now.share,
        "verdict": str(verdict.judgement),
        "reason": verdict.reason,
        "metrics": [metric.evidence() for metric in verdict.metrics],
        "looked_at": now.isoformat(),
    }


def _case(row: Mapping[str, Any]) -> Case:
    return Case(row["query"], tuple(Fact(**fact) for fact in json.loads(row["facts"])), row["answer"])


def _outcome(row: Mapping[str, Any], reward: Reward, trial: Trial) -> Outcome:
    """A cancelled answer tells nothing of the adapter's quality, so it counts as given, not as failed, and of
    what it would have been nothing is known.
    """
    whole = row["status"] == "ok"
    return Outcome(
        arm=Arm(row["arm"]),
        good=reward.good,
        failed=row["status"] == "error" or bool(row["fallback_from"]),
        rating=row["rating"],
        period=trial.period_at(row["at"]),
        reward=reward.value if whole else None,
        refused=declines(row["answer"]) if whole else None,
        asked_again=row["asked_again"] if whole else None,
        asked_for_person=row["asked_for_person"] if whole else None,
        words=length(row["answer"]) if whole else None,
        first_token_s=row["first_token_s"],
        latency_s=row["latency_s"] if whole else None,
        conversation=row["conversation_id"],
    )
