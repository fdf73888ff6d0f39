"""Suites: questions that an answer can be checked by, as files of cases. Pure but for reading them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from infra.errors import NightError
from trainer.bootstrap import clusters
from trainer.words import SENTENCES, covered, declines, length, negated

# An answer of more words rambles, unless what it states takes half as many itself.
LONGEST = 45
# Who declines says so in the first sentences; further down, "I'm not sure" or "it's best to contact" are the
# rambling of one who answers.
OPENING = 2

_TOKEN = re.compile(r"[$€£]?\d+(?:[.,:]\d+)*%?|[^\W\d_]+(?:'[^\W\d_]+)?")


class SuiteCase(BaseModel):
    """One question with what a right answer does. `suite` is the file's name.

    It states the `reference`; or, where that is an exact fact (a price, a name), it says one of the
    `accepted` spellings; or it `declines` at once; and it says nothing of what it is to `avoid`. Cases of one
    `cluster` rise and fall together; by default those of one collection do, where `read_suites` finds enough
    collections. `conduct` sets apart what must not get worse from the facts that a night must get better at.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    suite: str = ""
    collection: str
    question: str
    reference: str = ""
    accepted: tuple[str, ...] = ()
    declines: bool = False
    avoid: tuple[str, ...] = ()
    conduct: bool = False
    cluster: str = ""

    @model_validator(mode="after")
    def _can_fail(self) -> Self:
        if not (self.reference or self.accepted or self.declines or self.avoid):
            raise ValueError("a case needs a reference, accepted spellings, declines or something to avoid")
        return self

    def passed(self, answer: str) -> bool:
        """Whether the answer does what is asked of it; an empty one never does."""
        if not answer.strip() or _says(answer, self.avoid):
            return False
        if self.declines:
            return declines(" ".join(SENTENCES.split(answer.strip())[:OPENING]))
        if self.accepted:
            return spells(answer, self.accepted)
        return states(answer, self.reference) if self.reference else True

    @property
    def key(self) -> str:
        """One name for it among all suites."""
        return f"{self.suite}/{self.id}"

    @property
    def group(self) -> str:
        return self.cluster or self.collection


def read_suites(folder: Path) -> list[SuiteCase]:
    """All cases of the JSONL files in `folder`, in the order of file and line.

    Where they ask too few collections to draw from, each case that names no cluster is one (see `clusters`).

    Raises:
        NightError: a line is not a case; the message names file and line.
    """
    cases = []
    for file in sorted(folder.glob("*.jsonl")):
        for number, line in enumerate(file.read_text().splitlines(), start=1):
            try:
                cases.append(SuiteCase.model_validate(json.loads(line) | {"suite": file.stem}))
            except (ValidationError, TypeError, ValueError) as err:
                raise NightError(f"{file}, line {number} is not a suite case: {err}.") from err
    names = clusters([case.group for case in cases], [case.cluster or case.key for case in cases])
    return [case.model_copy(update={"cluster": name}) for case, name in zip(cases, names, strict=True)]


def first_of_each(cases: Sequence[SuiteCase], each: int, collections: Sequence[str]) -> list[SuiteCase]:
    """At most the first `each` cases of every suite, asked in turn of `collections`, which are not empty."""
    suites: dict[str, list[SuiteCase]] = {}
    for case in cases:
        suites.setdefault(case.suite, []).append(case)
    chosen = [case for suite in suites.values() for case in suite[:each]]
    return [
        case.model_copy(update={"collection": collections[place % len(collections)]})
        for place, case in enumerate(chosen)
    ]


def states(answer: str, reference: str) -> bool:
    """Whether an answer states the reference: half of its content stems, the same polarity, and no ramble."""
    return (
        covered(reference, by=answer) >= 0.5
        and negated(answer) == negated(reference)
        and length(answer) <= max(LONGEST, 2 * length(reference))
    )


def spells(answer: str, accepted: Iterable[str]) -> bool:
    """Whether an answer that does not ramble says one of these as whole words, whatever their case."""
    return length(answer) <= LONGEST and _says(answer, accepted)


def _says(answer: str, texts: Iterable[str]) -> bool:
    said = f" {_plain(answer)} "
    return any(f" {text} " in said for text in map(_plain, texts) if text)


def _plain(text: str) -> str:
    """Words and numbers with what belongs to them ($1.5M, 15%), without other marks."""
    return " ".join(_TOKEN.findall(text.lower().replace("\u2019", "'")))
