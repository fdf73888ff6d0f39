"""Routing: sticky, uniform, and never to what cannot be used."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from agent.routing import choose, fraction
from infra.deployment import Deployment
from infra.events import Arm

NONE: frozenset[str] = frozenset()
BOTH = frozenset({"old", "new"})


def test_without_a_canary_everything_is_stable() -> None:
    route = choose("c", Deployment(stable="old"), BOTH, NONE)
    assert (route.arm, route.canary, route.adapters) == (Arm.STABLE, "", ("old", ""))


def test_the_canary_falls_back_to_stable_then_to_the_base() -> None:
    route = choose("c", Deployment(stable="old", canary="new", share=1.0), BOTH, NONE)
    assert (route.arm, route.canary, route.adapters) == (Arm.CANARY, "new", ("new", "old", ""))


def test_a_canary_that_is_being_loaded_is_not_on_trial() -> None:
    route = choose("c", Deployment(stable="old", canary="new", share=1.0), frozenset({"old"}), NONE)
    assert (route.arm, route.canary, route.adapters, route.skipped) == (Arm.STABLE, "", ("old", ""), "")


def test_a_canary_that_failed_counts_but_is_not_asked() -> None:
    state = Deployment(stable="old", canary="new", share=1.0)
    route = choose("c", state, frozenset({"old"}), frozenset({"new"}))
    assert (route.arm, route.canary, route.adapters, route.skipped) == (Arm.CANARY, "new", ("old", ""), "new")


def test_a_stable_adapter_that_is_not_loaded_is_left_out() -> None:
    assert choose("c", Deployment(stable="old"), NONE, NONE).adapters == ("",)


def test_a_share_gets_its_part_of_conversations() -> None:
    total = 20_000
    for share in (0.01, 0.1, 0.5, 0.9):
        hits = sum(fraction(f"conversation-{i}", "new") < share for i in range(total))
        spread = 4 * math.sqrt(total * share * (1 - share))
        assert abs(hits - total * share) < spread


def test_two_canaries_draw_independently() -> None:
    both = sum(fraction(f"c{i}", "a") < 0.5 and fraction(f"c{i}", "b") < 0.5 for i in range(4000))
    assert 880 < both < 1120


@given(st.text(), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_keeps_who_was_there(conversation: str, one: float, other: float) -> None:
    small, large = sorted((one, other))
    narrow = choose(conversation, Deployment(canary="new", share=small), BOTH, NONE)
    wide = choose(conversation, Deployment(canary="new", share=large), BOTH, NONE)
    assert narrow.arm is Arm.STABLE or wide.arm is Arm.CANARY
    assert narrow == choose(conversation, Deployment(canary="new", share=small), BOTH, NONE)
