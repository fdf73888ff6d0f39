"""The fold over deployments: whatever was appended, it gives a state that is safe to serve."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from infra.deployment import Deployment, apply, fold
from infra.events import DeploymentChanged

ADAPTERS = ["", "a", "b", "c"]
ACTIONS = ["canary", "share", "pause", "resume", "promote", "roll_back", "reject", "base"]
changes = st.builds(
    DeploymentChanged,
    action=st.sampled_from(ACTIONS),
    adapter=st.sampled_from(ADAPTERS),
    share=st.floats(0.0, 1.0),
    actor=st.just("test"),
)
histories = st.lists(changes, max_size=25)


def change(action: str, adapter: str = "", share: float = 0.0) -> DeploymentChanged:
    return DeploymentChanged.model_validate(
        {"action": action, "adapter": adapter, "share": share, "actor": "test"}
    )


@given(histories)
def test_what_serves_was_never_denied(history: list[DeploymentChanged]) -> None:
    state = fold(history)
    assert not state.denied & {state.stable, state.canary}
    assert "" not in state.denied
    assert len(state.wanted) == len(set(state.wanted))
    assert state.previous not in state.denied


def test_what_was_stable_before_may_be_on_trial_again() -> None:
    state = fold([change("promote", "a"), change("promote", "b"), change("canary", "a", 0.5)])
    assert (state.stable, state.canary, state.previous) == ("b", "a", "a")
    taken_back = apply(state, change("roll_back"))  # the canary: nothing goes back to it either
    assert (taken_back.stable, taken_back.canary, taken_back.previous) == ("b", "", "")
    back = apply(state, change("roll_back", "b"))  # what is on trial serves everybody: the trial is over
    assert (back.stable, back.canary, back.share, back.denied) == ("a", "", 0.0, frozenset({"b"}))


def test_what_was_rejected_is_not_gone_back_to() -> None:
    state = fold([change("promote", "a"), change("promote", "b"), change("reject", "a"), change("roll_back")])
    assert (state.stable, state.denied) == ("", frozenset({"a", "b"}))


@given(histories)
def test_a_share_belongs_to_a_canary(history: list[DeploymentChanged]) -> None:
    state = fold(history)
    assert 0.0 <= state.share <= 1.0
    assert state.canary or state.share == 0.0
    assert not state.canary or state.canary != state.stable


@given(histories)
def test_denied_is_for_ever(history: list[DeploymentChanged]) -> None:
    state = Deployment()
    for one in history:
        following = apply(state, one)
        assert following.denied >= state.denied
        assert following.served >= state.served
        assert following.version == state.version + 1
        state = following


@given(histories, st.integers(0, 25))
def test_a_fold_can_go_on_from_any_state(history: list[DeploymentChanged], cut: int) -> None:
    assert fold(history[cut:], fold(history[:cut])) == fold(history)


@given(histories)
def test_base_always_ends_it_all(history: list[DeploymentChanged]) -> None:
    state = fold([*history, change("base")])
    assert (state.stable, state.canary, state.share, state.wanted) == ("", "", 0.0, ())


@given(histories)
def test_rolling_back_always_takes_back_what_is_newest(history: list[DeploymentChanged]) -> None:
    before = fold(history)
    after = apply(before, change("roll_back"))
    newest = before.canary or before.stable
    assert newest not in after.wanted
    assert not newest or newest in after.denied
    assert not before.canary or after.stable == before.stable


@given(histories, st.sampled_from(["a", "b", "c"]))
def test_every_adapter_has_one_stage(history: list[DeploymentChanged], adapter: str) -> None:
    state = fold(history)
    stage = state.stage(adapter)
    assert (stage == "canary") == (adapter == state.canary)
    assert (stage == "stable") == (adapter == state.stable)
    assert (stage == "rejected") == (adapter in state.denied)
    if stage == "candidate":
        assert adapter not in state.served


def test_nothing_has_happened_yet() -> None:
    assert fold([]) == Deployment()
    assert Deployment().wanted == ()


def test_the_life_of_a_good_adapter() -> None:
    state = fold([change("canary", "a", 0.5)])
    assert (state.canary, state.share, state.stable, state.stage("a")) == ("a", 0.5, "", "canary")
    state = fold([change("share", "a", 0.8)], state)
    assert state.share == 0.8
    state = fold([change("promote", "a")], state)
    assert (state.canary, state.stable, state.share, state.stage("a")) == ("", "a", 0.0, "stable")
    state = fold([change("canary", "b", 0.5), change("promote", "b")], state)
    assert (state.stable, state.previous, state.stage("a")) == ("b", "a", "retired")
    state = fold([change("roll_back", "b")], state)
    assert (state.stable, state.stage("b"), state.denied) == ("a", "rejected", frozenset("b"))


def test_a_canary_that_fails_never_comes_back() -> None:
    state = fold([change("canary", "a", 0.5), change("roll_back", "a"), change("canary", "a", 0.5)])
    assert (state.canary, state.denied) == ("", frozenset("a"))
    assert fold([change("promote", "a")], state).stable == ""


def test_there_is_one_canary_at_a_time() -> None:
    state = fold([change("canary", "a", 0.5), change("canary", "b", 0.9)])
    assert (state.canary, state.share) == ("a", 0.5)


def test_a_late_verdict_on_another_canary_changes_nothing() -> None:
    state = fold([change("canary", "a", 0.5), change("roll_back", "b"), change("share", "b", 0.9)])
    assert (state.canary, state.share, state.denied) == ("a", 0.5, frozenset())


def test_a_pause_holds_until_it_is_resumed_or_the_canary_ends() -> None:
    paused = fold([change("canary", "a", 0.5), change("pause", "a")])
    assert (paused.paused, paused.share) == (True, 0.5)
    assert not apply(paused, change("resume")).paused
    assert apply(paused, change("pause", "b")) == replace(paused, version=3)  # another one's pause
    for end in ("promote", "roll_back", "base"):
        assert not apply(paused, change(end, "a")).paused
    assert not fold([change("pause"), change("canary", "a", 0.1)]).paused


def test_what_was_denied_is_refused_under_another_name() -> None:
    state = fold([change("canary", "ns-20260101-aaaaaaaaaaaa", 0.1), change("roll_back")])
    again = "ns-20260102-aaaaaaaaaaaa"
    assert (state.refused(again), state.stage(again)) == (True, "rejected")
    assert fold([change("canary", again, 0.1), change("promote", again)], state).wanted == ()
    assert not state.refused("ns-20260101-bbbbbbbbbbbb")


def test_base_is_a_kill_switch() -> None:
    """Whatever served is denied, so nothing brings it back by itself."""
    state = fold([change("promote", "a"), change("canary", "b", 0.5), change("base")])
    assert (state.wanted, state.denied) == ((), frozenset("ab"))
    assert fold([change("canary", "b", 0.5), change("promote", "a")], state).wanted == ()


def test_wanted_has_stable_first() -> None:
    state = fold([change("promote", "a"), change("canary", "b", 0.1)])
    assert state.wanted == ("a", "b")
