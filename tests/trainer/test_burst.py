"""The burst guard: soon, seldom by chance, and not for what stable suffers too."""

from __future__ import annotations

from trainer.burst import burst, tail


def told(canary: list[int], stable: list[int], every: int = 1) -> str:
    """Both arms in turn: after each of the canary's answers come `every` of stable's."""
    before = [every * place for place in range(len(canary))]
    return burst([bool(one) for one in canary], [bool(one) for one in stable], before)


def test_three_among_the_first_thirty_are_too_many() -> None:
    assert told([0] * 27 + [1, 1], [0] * 29) == ""
    assert told([0] * 27 + [1, 1, 1], [0] * 30) == "3 of its first 30 answers failed."
    assert told([1, 1, 1], []) == "3 of its first 3 answers failed."


def test_four_among_the_last_twenty_are_too_many() -> None:
    assert told([0] * 97 + [1, 1, 1], [0] * 100) == ""
    assert told([0] * 96 + [1, 1, 1, 1], [0] * 100) == "4 of its last 20 answers failed."
    assert told([0] * 80 + [1, 1, 1] + [0] * 20, [0] * 100) == ""


def test_what_stable_suffers_at_the_same_time_excuses_the_canary() -> None:
    assert told([0] * 90 + [1] * 20, [0] * 90 + [1] * 20) == ""
    assert told([0] * 90 + [1] * 20, [0] * 20 + [1] * 20 + [0] * 70) != ""  # that was at another time
    assert told([0, 1, 0] * 3 + [0] * 21, [0, 0, 1] * 10) == ""


def test_chance_seldom_makes_a_burst() -> None:
    assert tail(30, 3, 0.005) < 0.0006
    assert 2000 * tail(20, 4, 0.005) < 0.01
    assert tail(30, 3, 0.2) > 0.95
    assert tail(3, 0, 0.5) == 1.0
