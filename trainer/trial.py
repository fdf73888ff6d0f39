"""One canary's trial: its periods, from what the deployments topic says, and the steps that it takes. Pure.

A period ends where the share or the stable adapter changes: answers are compared within a period only, so
neither a larger share at a better hour nor another stable adapter passes for a difference between the arms.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from infra.deployment import Deployment
from infra.follow import Change
from infra.sections import CanarySettings

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Period:
    """From when on the canary had this share, against which stable adapter (empty: the base model)."""

    began: datetime
    share: float
    stable: str = ""


@dataclass(frozen=True, slots=True)
class Trial:
    """The canary that is on, its periods so far (never none), and who paused it, if somebody did."""

    canary: str
    periods: tuple[Period, ...]
    paused_by: str = ""

    @property
    def began(self) -> datetime:
        return self.periods[0].began

    @property
    def now(self) -> Period:
        """The present period."""
        return self.periods[-1]

    def period_at(self, at: datetime) -> int:
        """The number of the period of that time. Clocks differ a little: what is too early is the first's."""
        return max(0, bisect_right([period.began for period in self.periods], at) - 1)

    @classmethod
    def of(cls, history: Sequence[Change]) -> Trial | None:
        """The trial that is on after these changes, or None."""
        before, trial = Deployment(), None
        for change in history:
            trial = _followed(trial, before, change) if change.after.canary else None
            before = change.after
        return trial


def _followed(trial: Trial | None, before: Deployment, change: Change) -> Trial:
    state = change.after
    period = Period(change.at, state.share, state.stable)
    if trial is None or before.canary != state.canary:
        return Trial(state.canary, (period,))
    paused_by = "" if not state.paused else trial.paused_by or change.body.actor
    same = (before.share, before.stable) == (state.share, state.stable)
    return Trial(trial.canary, trial.periods if same else (*trial.periods, period), paused_by)


def next_step(share: float, steps: Sequence[float]) -> float:
    """The step after a share; 1.0, which is the promotion, after the last that has two arms."""
    return next((step for step in steps if step > share), 1.0)


def first_step(settings: CanarySettings, per_hour: float) -> tuple[float, str]:
    """The share to begin with at `per_hour` answers of the whole service, and why in a sentence where that is
    not the first step: one that would take longer than `patience_h` to its fewest answers is left out.
    """
    *steps, last = settings.steps[:-1]
    for step in steps:
        if per_hour * step * settings.patience_h >= settings.min_outcomes:
            last = step
            break
    if last == settings.steps[0]:
        return last, ""
    return last, (
        f"It begins at {last:.0%}: of some {per_hour:.0f} answers an hour, a smaller share would take more "
        f"than {settings.patience_h:g} h to {settings.min_outcomes} answers."
    )


def waits(history: Sequence[Change], settings: CanarySettings, now: datetime) -> str:
    """Why no canary may be promoted by itself now; empty where one may.

    Every promotion of the last 24 hours counts, one by hand too; one by hand is never stopped.
    """
    before, promoted = Deployment(), []
    for change in history:
        moved = change.body.action == "promote" and change.after.stable != before.stable
        if moved and change.at > now - _DAY:
            promoted.append(change.at)
        before = change.after
    if len(promoted) < settings.promotions_a_day:
        return ""
    return (
        f"It waits: {len(promoted)} promoted in the last 24 h, last at {promoted[-1]:%Y-%m-%d %H:%M} UTC, "
        f"and {settings.promotions_a_day} a day may be."
    )
