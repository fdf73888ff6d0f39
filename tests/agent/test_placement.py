"""Which engine gets a request: alike beginnings together, nobody clearly busier, few keys moved by a loss."""

from __future__ import annotations

import math
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from agent.placement import beginning, choose

NAMES = [f"http://10.0.0.{number}:8000" for number in range(4)]
KEYS = [f"key-{number}" for number in range(400)]


def test_the_same_beginning_goes_to_the_same_engine_while_that_is_not_clearly_busier() -> None:
    idle = dict.fromkeys(NAMES, 10)
    home = choose("key", idle)
    assert choose("key", idle | {home: 12}) == home
    away = choose("key", idle | {home: 20})
    assert away != home


def test_what_is_too_much_goes_to_the_least_busy() -> None:
    running = dict(zip(NAMES, (9, 7, 3, 5), strict=True))
    home = choose("key", dict.fromkeys(NAMES, 0))
    crowded = running | {home: 90}
    assert choose("key", crowded) == min(crowded, key=lambda name: crowded[name])


def test_keys_spread_and_only_those_of_a_lost_engine_move() -> None:
    before = {key: choose(key, dict.fromkeys(NAMES, 10)) for key in KEYS}
    assert min(Counter(before.values()).values()) > len(KEYS) / 8
    after = {key: choose(key, dict.fromkeys(NAMES[1:], 10)) for key in KEYS}
    assert all(after[key] == home for key, home in before.items() if home != NAMES[0])


@given(st.lists(st.sampled_from(KEYS[:3]), max_size=200), st.integers(1, 4))
def test_no_engine_ever_gets_more_than_its_bounded_part(keys: list[str], engines: int) -> None:
    """Nothing ever ends here: the hardest case, with as few as one beginning for all requests."""
    running = dict.fromkeys(NAMES[:engines], 0)
    for key in keys:
        running[choose(key, running)] += 1
        assert max(running.values()) <= math.ceil(1.25 * sum(running.values()) / engines)


def test_what_counts_is_the_adapter_and_how_the_prompt_begins() -> None:
    long = "You answer customers of THE INN. Use only these facts:\n- Breakfast: from 7 to 10. " + "x" * 150
    assert beginning(long + "a", "") == beginning(long + "b", "")
    assert beginning(long, "ns-1") != beginning(long, "ns-2")
    assert beginning("short", "") != beginning("other", "")
