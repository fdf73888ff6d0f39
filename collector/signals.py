"""Inferred feedback: what a customer's next words tell about the answer before them.

Pure, English only, and modest on purpose: a few signs with clear definitions rather than a classifier.
A sign is evidence for a night to weigh, never a verdict; the customer's text stays where it is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from infra.events import Interaction


class Kind(StrEnum):
    """What was seen in a query. It speaks of the answer before it in the same conversation."""

    REPEATED = "repeated"  # the very words of an earlier query
    REPHRASED = "rephrased"  # most words of the query just before, said in another way
    ASKS_FOR_PERSON = "asks_for_person"
    THANKS = "thanks"
    CORRECTS = "corrects"  # says that the answer was wrong or beside the point


class Signal(NamedTuple):
    """`value` is the share of common words for `rephrased`, else 1."""

    kind: Kind
    value: float = 1.0


# Half of all different words in common, function words not counted: with them "is there parking" and "is
# there breakfast" would be alike.
_ALIKE = 0.5
# One common word of two is chance.
_FEWEST_WORDS = 2
# Words, all counted: "yes", "ok" and "thank you" are said again without any question.
_FEWEST_REPEATED = 3

_WORD = re.compile(r"[a-z0-9]+(?:'[a-z]+)?")
_FUNCTION_WORDS = frozenset(
    "a an the is are was were be been am do does did can could will would shall should may might must have "
    "has had i you he she it we they me my your our their us them this that these those there here to of in "
    "on at for with from by and or but so if as any some please what which who how when where why".split()
)
_WANT = r"(?:speak|talk|chat|connect|transfer|put|pass|get|give|need|want|reach|contact|hand)"
_PERSON = (
    r"(?:human|humans|(?:real|actual|live) (?:person|agent|human|operator)|representative|supervisor|"
    r"(?:human|live|support|service) agent|customer (?:service|support|care)|member of (?:the )?staff|"
    r"operator|staff member|manager|someone|somebody|a person)"
)
# One of these is in whatever asks for a person: looked for first, since few do.
_PEOPLE = (
    *("human", "person", "agent", "representative", "supervisor", "customer", "staff", "operator", "manager"),
    *("someone", "somebody"),
)
_PATTERNS = {
    Kind.ASKS_FOR_PERSON: re.compile(
        rf"\b{_WANT}\b(?: \w+){{0,3}}? (?:to|with|me|through|over|for)?(?: \w+){{0,2}}? ?\b{_PERSON}\b"
        r"|\b(?:human|operator|representative|(?:real|live) (?:person|agent)|agent),? (?:please|now)\b"
        r"|^(?:human|agent|operator|representative|(?:a )?real person)$"
    ),
    Kind.THANKS: re.compile(
        r"(?<!no )(?<!not )\b(?:thanks|thank you|thx|much appreciated|cheers)\b"
        r"(?! (?:to|for nothing))"
    ),
    Kind.CORRECTS: re.compile(
        r"\b(?:that|this|it)(?:'s| is| was)(?: \w+)? (?:wrong|incorrect|false)\b"
        r"|\b(?:that|this|it)(?:'s| is| was) not (?:right|true|correct|what)\b"
        r"|\b(?:that|this|it) (?:isn't|wasn't) (?:right|true|correct|what)\b"
        r"|\b(?:you're|you are|your answer is|that answer is) (?:wrong|mistaken|incorrect)\b"
        r"|\b(?:not what i (?:asked|meant|said|wanted)|didn't answer|did not answer|i (?:meant|was asking))\b"
        r"|^no,? (?:i|that|it|the|you|not)\b"
    ),
}


def signals(interaction: Interaction) -> list[Signal]:
    """The signs in one interaction's query, at most one of a kind."""
    earlier = [message.content for message in interaction.prompt if message.role == "user"][:-1]
    # The first message of a conversation can ask for a person; nothing has been answered to thank for.
    if not earlier and not any(word in interaction.query.lower() for word in _PEOPLE):
        return []
    text = _normal(interaction.query)
    if not earlier:
        return [Signal(Kind.ASKS_FOR_PERSON)] if _PATTERNS[Kind.ASKS_FOR_PERSON].search(text) else []
    found = [Signal(kind) for kind, pattern in _PATTERNS.items() if pattern.search(text)]
    again = _asked_again(text, [_normal(query) for query in earlier])
    return [*found, again] if again else found


def _asked_again(query: str, earlier: Sequence[str]) -> Signal | None:
    if query in earlier and len(query.split()) >= _FEWEST_REPEATED:
        return Signal(Kind.REPEATED)
    words, before = _content(query), _content(earlier[-1])
    if min(len(words), len(before)) < _FEWEST_WORDS or query in earlier:
        return None
    alike = len(words & before) / len(words | before)
    return Signal(Kind.REPHRASED, alike) if alike >= _ALIKE else None


def _normal(text: str) -> str:
    """Lower case, plain apostrophes, no other punctuation than commas between words."""
    words = re.findall(r"[a-z0-9]+(?:'[a-z]+)?,?", text.lower().replace("\u2019", "'"))
    return " ".join(words).rstrip(",")


def _content(text: str) -> frozenset[str]:
    """The words that carry meaning, plural or not."""
    return frozenset(word.rstrip("s") for word in _WORD.findall(text) if word not in _FUNCTION_WORDS)
