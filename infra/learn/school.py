"""Who asks and who is asked about: businesses with their facts, questions to learn from and to judge by.

Facts are bare texts here. In the demo a fact's title is the question that it answers, so that finding it is
no work; customers of these businesses ask what no title says.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from infra.demo.business import Business, Cast, Question, businesses, questions, spread
from infra.errors import NotFound


def of_demo() -> tuple[list[Business], list[Question]]:
    """The demo's own businesses and questions: a small school, at hand everywhere."""
    bare = [
        replace(business, facts=tuple(("", text) for _, text in business.facts)) for business in businesses()
    ]
    return bare, questions()


def of_folder(folder: Path) -> tuple[list[Business], list[Question]]:
    """Businesses or articles, whichever the folder holds.

    Raises:
        NotFound: a file is missing.
    """
    articles = (folder / "articles.jsonl").is_file()
    return of_articles(folder) if articles else of_businesses(folder)


def of_businesses(folder: Path) -> tuple[list[Business], list[Question]]:
    """Businesses and questions of a folder in the form of the DSTC9 Track 1 data, see NOTICE.

    `businesses_train.jsonl` and `questions_train.jsonl` to learn from, `…_dev.jsonl` to judge by.

    Raises:
        NotFound: a file is missing.
    """
    known: list[Business] = []
    asked: list[Question] = []
    for split in ("train", "dev"):
        for row in _rows(folder / f"businesses_{split}.jsonl"):
            facts = tuple(("", fact["answer"]) for fact in row["facts"])
            known.append(Business(_slug(row["entity"]), row["name"], split == "dev", facts))
        asked += [
            Question(_slug(row["entity"]), row["question"], row["answer"])
            for row in _rows(folder / f"questions_{split}.jsonl")
        ]
    return known, asked


def of_articles(folder: Path) -> tuple[list[Business], list[Question]]:
    """Help-desk articles and questions with exact answers, in the form of WorkArena's knowledge tasks.

    One desk whose knowledge is every article, a paragraph a fact. It stands twice, as what is learned from
    and what is judged, since no answer that is judged may be asked about by day.

    Raises:
        NotFound: a file is missing.
    """
    facts = tuple(fact for row in _rows(folder / "articles.jsonl") for fact in _paragraphs(row["text"]))
    known = [Business(f"desk-{split}", "the help desk", split == "dev", facts) for split in ("train", "dev")]
    asked = [
        Question(
            f"desk-{split}",
            row["question"],
            row["answer"],
            accepted=(row["answer"], *row["alternatives"]),
            cluster=row["item"],
        )
        for split in ("train", "dev")
        for row in _rows(folder / f"questions_{split}.jsonl")
    ]
    return known, asked


def _paragraphs(text: str) -> Iterator[tuple[str, str]]:
    """(title, text) of each line below the first one, which is the article's title."""
    title, *lines = (line.strip() for line in text.strip().split("\n"))
    return ((title, line) for line in lines if line)


def days(
    known: Sequence[Business],
    asked: Sequence[Question],
    seed: int,
    nights: int,
    each: int,
    judged: int,
) -> tuple[list[list[Question]], Cast]:
    """The questions of each day, `each` new ones a day from many businesses, and who plays which part.

    At most `judged` held-out questions are kept to judge by; 0 keeps all. What the data does not hold is
    left out: the last days may be shorter.
    """
    rng = random.Random(seed)
    by_business: dict[str, list[Question]] = {}
    for question in asked:
        by_business.setdefault(question.collection, []).append(question)
    hands = {business.collection: by_business.get(business.collection, []) for business in known}
    for hand in hands.values():
        rng.shuffle(hand)
    learning = [hands[business.collection] for business in known if not business.held_out]
    judging = [hands[business.collection] for business in known if business.held_out]
    rng.shuffle(learning)
    learn = spread(learning, nights * each)
    held_out = spread(judging, judged or sum(map(len, judging)))
    used = {question.collection for question in (*learn, *held_out)}
    parts = [learn[night * each : (night + 1) * each] for night in range(nights)]
    cast = Cast(tuple(learn), tuple(held_out), (), tuple(b for b in known if b.collection in used))
    return parts, cast


def _slug(entity: str) -> str:
    """A collection's name: `hotel/4` becomes `hotel-4`, and `train/*`, what holds for all, `train-all`."""
    return entity.lower().replace("/", "-").replace("*", "all")


def _rows(file: Path) -> list[dict[str, Any]]:
    if not file.is_file():
        raise NotFound(f"{file} is missing: name a folder with businesses and questions, or none.")
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
