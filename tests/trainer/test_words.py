"""Words as rewards and suites compare them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.words import covered, declines, figures, length, negated, stems


def test_stems_drop_empty_words_and_keep_numbers_and_times() -> None:
    assert stems("Parking costs 12.50 until 11:30, doesn't it?") == [
        "park",
        "cost",
        "12.50",
        "until",
        "11:30",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Pets are not allowed.", True),
        ("They don't take cards", True),
        ("There is no lift.", True),
        ("Nothing beats our notable knots.", False),
        ("Yes, parking is free.", False),
    ],
)
def test_negated(text: str, expected: bool) -> None:
    assert negated(text) is expected


def test_figures_are_numbers_and_halves_of_the_day() -> None:
    assert figures("From 7:30a to 11:00 A.M., $1,200 or 50%") == {"7:30", "7:30a", "11", "11a", "1200", "50"}
    assert figures("8pm, 3 a day, no. 4 apples") == {"8", "8p", "3", "4"}
    assert figures("none") == set()


def test_covered_counts_distinct_stems() -> None:
    assert covered("free parking and free breakfast", by="Parking is free") == pytest.approx(2 / 3)
    assert covered("it is", by="") == 1.0


@given(st.text(), st.text())
def test_covered_is_a_share_and_all_of_itself(of: str, by: str) -> None:
    assert 0.0 <= covered(of, by) <= 1.0
    assert covered(of, by=of) == 1.0
    assert length(of) >= 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I don't know.", True),
        ("I can\u2019t help with that.", True),
        ("We cannot answer this question.", True),
        ("I am not able to say.", True),
        ("The facts do not mention it.", True),
        ("Sorry, that is beyond me.", True),
        ("Please ask our reception.", True),
        ("There is no information about that.", True),
        ("Yes, it is free.", False),
        ("No, we do not have a pool.", False),
        ("You cannot bring pets.", False),
        ("Guests can say hello to the cat.", False),
        ("", False),
    ],
)
def test_declining_is_told_from_denying(text: str, expected: bool) -> None:
    assert declines(text) is expected
