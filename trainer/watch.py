"""Watches the canary: reads what was recorded on both arms, judges, and promotes or rolls back by itself.

The judgement is `canary`'s; this is its caller. Whatever it decides, it decides by appending one event.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from infra.eventlog.base import EventLog
from infra.events import Arm, DeploymentChanged, Event, Fact, Topic
from infra.follow import Deployments
from infra.sections import CanarySettings
from trainer.canary import Judgement, Outcome, Verdict, judge
from trainer.reward.model import Case, Reward, RewardModel

logger = logging.getLogger(__name__)

# Reads the outcomes recorded on both arms of the named canary since the given time, oldest first.
Recorded = Callable[[str, datetime], list[dict[str, Any]]]
# Clocks of two machines may differ by this much; a row from before the canary names no canary anyway.
_SKEW = timedelta(minutes=5)

_ACTIONS: dict[Judgement, Any] = {Judgement.PROMOTE: "promote", Judgement.ROLL_BACK: "roll_back"}
_APPEND_S = 30.0


class Watch:
    """Looks at the canary that is on, if one is. Used by one thread."""

    def __init__(
        self, log: EventLog, recorded: Recorded, reward: RewardModel, settings: CanarySettings
    ) -> None:
        self._log = log
        self._recorded = recorded
        self._reward = reward
        self._settings = settings
        self._deployments = Deployments(log)
        self._rewards: dict[str, Reward] = {}
        self.verdict: Verdict | None = None

    def look(self) -> Verdict | None:
        """One look: the verdict on the present canary, acted on unless it says hold. None without a canary.

        Raises:
            LakeError: the record cannot be read.
            EventLogError: the decision could not be appended; the next look decides again.
        """
        canary = self._deployments.poll().canary
        since = self._deployments.canary_since
        if not canary or since is None:
            self._rewards.clear()
            self.verdict = None
            return None
        self.verdict = judge(self.outcomes(canary, since), self._settings)
        if self.verdict.judgement is not Judgement.HOLD:
            self._decide(canary, self.verdict)
        return self.verdict

    def outcomes(self, canary: str, since: datetime) -> list[Outcome]:
        """What was recorded while `canary` was on, from `since`; each answer is judged once."""
        rows = self._recorded(canary, since - _SKEW)
        fresh = [row for row in rows if row["response_id"] not in self._rewards]
        for row, reward in zip(fresh, self._reward.score([_case(row) for row in fresh]), strict=True):
            self._rewards[row["response_id"]] = reward
        return [_outcome(row, self._rewards[row["response_id"]]) for row in rows]

    def close(self) -> None:
        """Lets go of the deployments reader."""
        self._deployments.close()

    def _decide(self, canary: str, verdict: Verdict) -> None:
        change = DeploymentChanged(
            action=_ACTIONS[verdict.judgement],
            adapter=canary,
            actor="canary",
            reason=verdict.reason,
            evidence={
                "metrics": [metric.evidence() for metric in verdict.metrics],
                "verdict": str(verdict.judgement),
                "looked_at": datetime.now(UTC).isoformat(),
            },
        )
        event = Event.of(change, key=Topic.DEPLOYMENTS)
        self._log.append(event.topic, event.key, event.encode()).result(timeout=_APPEND_S)
        logger.info("canary %s: %s. %s", canary, verdict.judgement, verdict.reason)


def _case(row: Mapping[str, Any]) -> Case:
    return Case(row["query"], tuple(Fact(**fact) for fact in json.loads(row["facts"])), row["answer"])


def _outcome(row: Mapping[str, Any], reward: Reward) -> Outcome:
    """A cancelled answer tells nothing of the adapter's quality, so it counts as given, not as failed."""
    return Outcome(
        arm=Arm(row["arm"]),
        good=reward.good,
        failed=row["status"] == "error" or bool(row["fallback_from"]),
        rating=row["rating"],
    )
