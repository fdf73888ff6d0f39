"""What the learnt reward measures: texts as it reads them, and which way its numbers point."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from infra.events import Fact
from trainer.reward.features import ASKED, MANNER, STATED, asked, manner, stated
from trainer.reward.retrieve import Shelf
from trainer.reward.text import Reader, statement
from trainer.words import repeats


def letters(word: str) -> NDArray[np.float32]:
    """A vector of letter counts: words that look alike are near, which is enough to see the arithmetic."""
    return np.array([word.count(chr(code)) for code in range(97, 123)], dtype=np.float32)


READER = Reader(letters)
QUERY = "How much is parking?"
FACT = "Parking costs 20 dollars a night."


def told(answer: str, fact: str = FACT, query: str = QUERY) -> dict[str, float]:
    texts = (READER.read(query), READER.read(answer), READER.read(fact))
    return dict(zip(STATED, stated(*texts), strict=True))


def alone(answer: str, query: str = QUERY, fact: str = FACT) -> dict[str, float]:
    read = READER.read
    numbers = manner(read(query), read(statement(answer)), [read(fact)])
    return dict(zip(MANNER, numbers, strict=True))


def fits(query: str, *facts: str) -> list[dict[str, float]]:
    rows = asked(READER.read(query), [READER.read(fact) for fact in facts], np.zeros(len(facts), np.float32))
    return [dict(zip(ASKED, row, strict=True)) for row in rows]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Check-in is at 3:00 PM.", "check-in is at 15:00"),
        ("Opens at 9 a.m. daily", "opens at 9:00am daily"),
        ("There are three pools", "There are 3 pools"),
        ("Free Wi-Fi", "free wifi"),
    ],
)
def test_spellings_of_the_same_number_time_or_word_read_alike(one: str, other: str) -> None:
    assert READER.read(one).content == READER.read(other).content


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("Yes, it is free. Would you like to book a room?", "Yes, it is free."),
        ("No pets. Let me know if you need more.", "No pets."),
        ("Would you like to book a room?", "Would you like to book a room?"),
        ("", ""),
    ],
)
def test_a_statement_is_the_answer_without_its_closing(answer: str, said: str) -> None:
    assert statement(answer) == said


def test_a_fact_told_rightly_is_covered_supported_and_agrees() -> None:
    right = told("Parking is 20 dollars a night.")
    assert right["supported"] == right["polarity_agrees"] == 1.0
    assert right["numbers_unknown"] == right["numbers_missing"] == 0.0


def test_another_number_is_seen_from_both_sides() -> None:
    wrong = told("Parking is 35 dollars a night.")
    assert (wrong["numbers_unknown"], wrong["numbers_missing"], wrong["numbers_shared"]) == (1.0, 1.0, 0.0)


def test_a_number_is_never_near_another_number() -> None:
    assert told("It costs 21 dollars a night.")["fact_covered_soft"] < 1.0


def test_polarity_is_seen_in_both_directions() -> None:
    denies, affirms = told("Parking is not available."), told("There is parking.", "There is no parking.")
    assert (denies["polarity_agrees"], denies["denies_an_affirmed"]) == (0.0, 1.0)
    assert (affirms["polarity_agrees"], affirms["affirms_a_denied"]) == (0.0, 1.0)


def test_what_no_fact_supports_and_foreign_names_are_counted() -> None:
    made_up = alone("The garage of the Marriott costs 20 dollars.")
    assert made_up["unsupported"] > 0.3
    assert made_up["names_unknown"] == 1.0
    assert alone("Parking costs 20 dollars.")["unsupported"] == 0.0


def test_the_fact_of_the_kind_that_is_asked_for_stands_out() -> None:
    price, hours = fits("How much does parking cost?", FACT, "Parking is open from 9 am.")
    assert price["money"] == 1.0
    assert hours["money"] == -1.0
    when, _ = fits("What time does it open?", "It opens at 9 am.", "There is a bar.")
    assert when["time"] == 1.0


def test_a_word_that_few_facts_hold_tells_them_apart() -> None:
    first, second = fits("Is hotel parking free?", "The hotel has parking.", "The hotel has a bar.")
    assert first["rare_covered"] > second["rare_covered"]


@given(st.text(max_size=80), st.text(max_size=80), st.text(max_size=80))
def test_any_text_gives_finite_numbers(query: str, answer: str, fact: str) -> None:
    everything = [
        *told(answer, fact, query).values(),
        *alone(answer, query, fact).values(),
        *fits(query, fact)[0].values(),
    ]
    assert np.isfinite(everything).all()


def test_loops_are_seen() -> None:
    assert repeats("free parking for guests") == 0.0
    assert repeats("no parking " * 10) > 0.8


def test_a_search_finds_the_fact_by_its_words_and_gives_no_more_than_asked_for() -> None:
    facts = [Fact(title="", text=text) for text in (FACT, "Pets are welcome.", "The bar opens at 9 pm.")]
    found = Shelf(facts, READER).search("Are pets welcome?", 2)
    assert found[0].text == "Pets are welcome."
    assert len(found) == 2
    assert Shelf([], READER).search("Are pets welcome?", 2) == ()
