"""Replies that people rated, with the facts that a search finds for their question.

A row: entity, faq_question (what the customer asked), response, accuracy (three ratings, 1 to 5), and
faq_answer, the fact that answers it: a label, never shown to the reward. The facts come without titles:
those of this data are the questions themselves, and would give the asked fact away.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.errors import NightError
from infra.events import Fact
from trainer.reward.gauge import FACTS
from trainer.reward.model import Case
from trainer.reward.retrieve import Shelf
from trainer.reward.text import Reader


@dataclass(frozen=True, slots=True)
class Rated:
    """One rated reply. `turn` is shared by the replies to the same question in the same conversation."""

    turn: str
    business: str
    case: Case
    answering: Fact
    ratings: tuple[float, ...]

    @property
    def rating(self) -> float:
        """Mean of people's ratings of accuracy, 1 to 5."""
        return sum(self.ratings) / len(self.ratings)

    @property
    def kind(self) -> str:
        """What sort of business it is: hotel, restaurant, train."""
        return self.business.split("/", 1)[0]


def read(ratings: Path, businesses: Path, reader: Reader) -> list[Rated]:
    """All rated replies in the order of the file.

    Raises:
        NightError: a line cannot be read, or a business is not in `businesses`; names file and line.
    """
    shelves = {
        row["entity"]: Shelf([Fact(title="", text=fact["answer"]) for fact in row["facts"]], reader)
        for _, row in _rows(businesses)
    }
    found: dict[tuple[str, str], tuple[Fact, ...]] = {}
    replies = []
    for number, row in _rows(ratings):
        business, query = row["entity"], row["faq_question"]
        if business not in shelves:
            raise NightError(f"{ratings}, line {number}: the business {business!r} is not in {businesses}.")
        if (business, query) not in found:
            found[business, query] = shelves[business].search(query, FACTS)
        replies.append(
            Rated(
                turn=str(row["id"]),
                business=business,
                case=Case(query, found[business, query], row["response"]),
                answering=Fact(title="", text=row["faq_answer"]),
                ratings=tuple(map(float, row["accuracy"])),
            )
        )
    return replies


def folds(replies: Sequence[Rated], count: int) -> list[int]:
    """A fold for each reply: businesses stay whole, the largest first to the emptiest fold."""
    sizes: dict[str, int] = {}
    for reply in replies:
        sizes[reply.business] = sizes.get(reply.business, 0) + 1
    full = [0] * count
    fold = {}
    for business, size in sorted(sizes.items(), key=lambda item: (-item[1], item[0])):
        fold[business] = full.index(min(full))
        full[fold[business]] += size
    return [fold[reply.business] for reply in replies]


def _rows(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:  # Any: a data set's own columns
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            yield number, json.loads(line)
        except ValueError as err:
            raise NightError(f"{file}, line {number} is not JSON ({err}).") from err
