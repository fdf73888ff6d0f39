"""Routing: sticky, uniform, and never to what cannot be used."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
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


def test_a_share_gets_its_part_of_a_million_conversations_to_a_tenth_of_a_point(
    measured: Callable[[str], None],
) -> None:
    drawn = np.array([fraction(f"conversation-{i}", "new") for i in range(1_000_000)])
    off = {share: abs(float((drawn < share).mean()) - share) for share in (0.01, 0.05, 0.25, 0.5, 0.9)}
    each = ", ".join(f"{share}: {100 * by:.3f}" for share, by in off.items())
    measured(f"of a million conversations, off by at most {100 * max(off.values()):.3f} points: {each}")
    assert max(off.values()) < 0.001
    again = np.array([fraction(f"conversation-{i}", "new") for i in range(0, 1_000_000, 50)])
    assert (again == drawn[::50]).all()


def test_two_canaries_draw_independently(measured: Callable[[str], None]) -> None:
    """Pearson's chi-square over a table of five by five steps; 39.3 is exceeded once in a thousand."""
    conversations, edges = [f"c{i}" for i in range(100_000)], (0.0, 0.05, 0.25, 0.5, 0.75, 1.0)
    drawn = [[fraction(one, canary) for one in conversations] for canary in ("ns-a", "ns-b")]
    table, _, _ = np.histogram2d(drawn[0], drawn[1], bins=[edges, edges])
    expected = table.sum(1, keepdims=True) * table.sum(0) / len(conversations)
    chi_square = float(((table - expected) ** 2 / expected).sum())
    measured(f"two canaries: chi-square {chi_square:.1f} with 16 degrees of freedom")
    assert chi_square < 39.3


@given(st.text(), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_keeps_who_was_there(conversation: str, one: float, other: float) -> None:
    small, large = sorted((one, other))
    narrow = choose(conversation, Deployment(canary="new", share=small), BOTH, NONE)
    wide = choose(conversation, Deployment(canary="new", share=large), BOTH, NONE)
    assert narrow.arm is Arm.STABLE or wide.arm is Arm.CANARY
    assert narrow == choose(conversation, Deployment(canary="new", share=small), BOTH, NONE)
