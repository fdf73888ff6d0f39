"""Near-duplicates are found by hashes, as comparing every pair would find them, and fast."""

from __future__ import annotations

import csv
import json
import time
from pathlib import Path

import pytest

from trainer.duplicates import Questions, alike, wording

DATA = Path(__file__).parents[3] / "shared" / "data"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Is there parking?", "PARKING, is there?!"),
        ("Is breakfast included?", "Is brekfast included?"),
        ("Do you offer airport shuttle service?", "Do you offer an airport shuttle service, please?"),
        ("Есть ли парковка?", "есть ли парковка"),
        ("Who are you?", "who are you"),
    ],
)
def test_the_same_words_however_they_are_written(one: str, other: str) -> None:
    assert alike(wording(one), wording(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Is there parking?", "Is there a pool?"),
        ("Is room 12 free?", "Is room 13 free?"),
        ("Who are you?", "What is this?"),
        ("Есть ли парковка?", "Где находится отель?"),
        # a paraphrase: only meaning would tell
        ("Where can I leave my car?", "Is there parking?"),
    ],
)
def test_other_words_or_numbers_are_another_question(one: str, other: str) -> None:
    assert not alike(wording(one), wording(other))


def banking(count: int) -> list[str]:
    file = DATA / "banking77" / "train.csv"
    if not file.exists():
        pytest.skip(f"{file} is not here")
    with file.open() as lines:
        return [row["text"] for row in csv.DictReader(lines)][:count]


def test_hashes_find_what_comparing_every_pair_finds() -> None:
    texts = [wording(text) for text in banking(1200)]
    known, found, there = Questions(), 0, 0
    for place, asked in enumerate(texts):
        there += any(alike(asked, earlier) for earlier in texts[:place])
        found += known.holds(asked)
        known.add(asked)
    assert there > 50
    assert found >= 0.98 * there


def test_ten_thousand_questions_take_less_than_two_seconds() -> None:
    texts = banking(10_000)
    known, began = Questions(), time.process_time()
    for text in texts:
        asked = wording(text)
        if not known.holds(asked):
            known.add(asked)
    assert time.process_time() - began < 2.0


def test_different_questions_to_one_business_are_rarely_taken_for_one() -> None:
    file = DATA / "dstc9" / "questions_dev.jsonl"
    if not file.exists():
        pytest.skip(f"{file} is not here")
    known: dict[str, Questions] = {}
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    lost = 0
    for row in rows:
        asked, there = wording(row["question"]), known.setdefault(row["entity"], Questions())
        lost += there.holds(asked)
        there.add(asked)
    assert lost <= 0.03 * len(rows)
