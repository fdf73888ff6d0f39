"""A trial's periods and steps, from what the deployments topic says."""

from __future__ import annotations

from datetime import timedelta

import pytest

from infra.deployment import Deployment, apply
from infra.events import DeploymentChanged
from infra.follow import Change
from infra.sections import CanarySettings
from tests.trainer.trials import BEGAN
from trainer.trial import Period, Trial, first_step, next_step, waits


def history(*changes: tuple[str, str, float]) -> list[Change]:
    """Action, adapter and share, one a minute."""
    made, state = [], Deployment()
    for minute, (action, adapter, share) in enumerate(changes):
        body = DeploymentChanged.model_validate(
            {"action": action, "adapter": adapter, "share": share, "actor": f"by {minute}"}
        )
        state = apply(state, body)
        made.append(Change(BEGAN + timedelta(minutes=minute), body, state))
    return made


def minute(number: float) -> object:
    return BEGAN + timedelta(minutes=number)


def test_without_a_canary_there_is_no_trial() -> None:
    assert Trial.of([]) is None
    assert Trial.of(history(("promote", "a", 0), ("canary", "b", 0.1), ("roll_back", "b", 0))) is None


def test_a_period_ends_where_the_share_or_the_stable_adapter_changes() -> None:
    changes = history(
        ("promote", "a", 0), ("promote", "b", 0), ("canary", "new", 0.01), ("share", "another", 0.9),
        ("share", "new", 0.05), ("pause", "new", 0), ("share", "new", 0.05), ("roll_back", "b", 0),
    )  # fmt: skip
    trial = Trial.of(changes)
    assert trial is not None
    assert trial.canary == "new"
    assert [(one.share, one.stable) for one in trial.periods] == [(0.01, "b"), (0.05, "b"), (0.05, "a")]
    assert [one.began for one in trial.periods] == [minute(2), minute(4), minute(7)]
    assert trial.began == minute(2)
    places = [trial.period_at(BEGAN + timedelta(minutes=m)) for m in (0, 2, 3.9, 4, 6.9, 7, 99)]
    assert places == [0, 0, 0, 1, 1, 2, 2]


def test_who_paused_it_is_known_until_it_goes_on() -> None:
    paused = Trial.of(history(("canary", "a", 0.1), ("pause", "", 0), ("pause", "a", 0)))
    assert paused is not None
    assert paused.paused_by == "by 1"
    resumed = Trial.of(history(("canary", "a", 0.1), ("pause", "", 0), ("resume", "a", 0)))
    assert resumed is not None
    assert resumed.paused_by == ""


def test_the_same_adapter_after_another_canary_has_a_trial_of_its_own() -> None:
    trial = Trial.of(history(("canary", "a", 0.1), ("promote", "b", 0), ("canary", "a", 0.5)))
    assert trial == Trial("a", (Period(BEGAN + timedelta(minutes=2), 0.5, "b"),))


def test_steps_rise_to_the_promotion() -> None:
    steps = CanarySettings().steps
    assert [next_step(share, steps) for share in (0.01, 0.05, 0.1, 0.25, 0.5, 0.7, 1.0)] == [
        0.05, 0.25, 0.25, 0.5, 1.0, 1.0, 1.0,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("per_hour", "share"), [(1000, 0.01), (209, 0.01), (100, 0.05), (20, 0.25), (8, 0.5), (1, 0.5), (0, 0.5)]
)
def test_small_traffic_begins_with_a_larger_share_and_says_why(per_hour: float, share: float) -> None:
    """50 answers within 24 hours are 2.1 an hour, which one in a hundred of 208 are."""
    first, why = first_step(CanarySettings(), per_hour)
    assert first == share
    assert (why == "") == (share == 0.01)
    assert share == 0.01 or f"{per_hour:.0f} answers an hour" in why


def test_one_promotion_a_day_whoever_made_it() -> None:
    settings = CanarySettings()
    changes = history(("promote", "a", 0), ("promote", "a", 0), ("canary", "b", 0.5))
    assert "1 promoted in the last 24 h" in waits(changes, settings, BEGAN + timedelta(hours=23))
    assert waits(changes, settings, BEGAN + timedelta(hours=25)) == ""
    assert waits(changes, settings.model_copy(update={"promotions_a_day": 2}), BEGAN) == ""
    assert waits([], settings, BEGAN) == ""
