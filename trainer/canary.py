"""The canary's verdict: from recorded outcomes of both arms, at every look, to go on, promote, roll back or
hold.

Pure. Both arms are judged over the same time; always-valid tests make looking every second safe. An answer is
good when the reward says so strictly: a canary must answer, not merely not crash.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import numpy as np

from infra.sections import CanarySettings
from trainer.burst import burst
from trainer.canary_metrics import Answers, Metric, Outcome, measured
from trainer.trial import Trial, next_step


class Judgement(StrEnum):
    PROMOTE = "promote"
    STEP = "step"
    ROLL_BACK = "roll back"
    HOLD = "hold"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do, why in a sentence, the metrics behind it, and the share to go on to where it says step."""

    judgement: Judgement
    reason: str
    metrics: tuple[Metric, ...]
    share: float = 0.0


def judge(outcomes: Sequence[Outcome], trial: Trial, settings: CanarySettings, now: datetime) -> Verdict:
    """The verdict on a canary from all outcomes since it began, in the order of their time.

    Any metric that is proven worse rolls it back. The good rate promotes it, on the last step before 1, once
    it is proven not to be worse by the margin; missing outcomes never do. On the way it takes a step when it
    has been on one for long enough and does not look worse. What cannot be decided is rolled back in the end.
    """
    answers = Answers(outcomes)
    shares = [period.share for period in trial.periods]
    metrics = measured(answers, shares, not trial.now.stable, settings)
    if told := _burst(answers):
        return Verdict(Judgement.ROLL_BACK, told, metrics)
    if failed := [metric for metric in metrics if metric.verdict == "fail"]:
        return Verdict(Judgement.ROLL_BACK, failed[0].sentence, metrics)
    good = metrics[0]
    awaited = _awaited(answers, trial, settings, now, metrics)
    share = next_step(trial.now.share, settings.steps)
    if not awaited and share < 1.0:
        return Verdict(Judgement.STEP, f"No harm at {trial.now.share:.0%}. {good.sentence}", metrics, share)
    if not awaited and good.verdict == "pass":
        return Verdict(Judgement.PROMOTE, good.sentence, metrics)
    if not trial.paused_by and (ended := _ended(good, trial, settings, now)):
        return Verdict(Judgement.ROLL_BACK, f"{ended} {good.sentence}", metrics)
    return Verdict(Judgement.HOLD, awaited or f"Not decided yet. {good.sentence}", metrics)


def _awaited(
    answers: Answers, trial: Trial, settings: CanarySettings, now: datetime, metrics: Sequence[Metric]
) -> str:
    """What the present step still waits for, in a sentence; empty when it may end."""
    good, here = metrics[0], int(np.sum(answers.canary & (answers.period == len(trial.periods) - 1)))
    missing = [metric.name for metric in metrics if metric.measure.required and not metric.measured]
    seconds = (now - trial.now.began).total_seconds()
    if min(good.n_stable, good.n_canary) < settings.min_outcomes or here < settings.min_outcomes:
        return (
            f"Not enough outcomes: {here} of the canary at {trial.now.share:.0%}, {good.n_stable} of stable; "
            f"{settings.min_outcomes} are needed of each."
        )
    if seconds < settings.step_s:
        return f"{seconds:.0f} of {settings.step_s:.0f} s at {trial.now.share:.0%}."
    if missing:
        return f"Nothing is recorded of {', '.join(missing)}."
    worse = next((metric for metric in metrics if metric.looks_worse), None)
    return f"It looks worse, which is not proven. {worse.sentence}" if worse else ""


def _ended(good: Metric, trial: Trial, settings: CanarySettings, now: datetime) -> str:
    """Why an undecided trial is over; empty while it is not."""
    if good.n_canary >= settings.max_outcomes:
        return f"Undecided after {good.n_canary} canary answers."
    hours = (now - trial.began).total_seconds() / 3600.0
    return f"Undecided after {hours:.0f} h." if hours >= settings.max_h else ""


def _burst(answers: Answers) -> str:
    failed = answers.of("failed") > 0.0
    before = np.cumsum(~answers.canary)[answers.canary]
    return burst(failed[answers.canary].tolist(), failed[~answers.canary].tolist(), before.tolist())
