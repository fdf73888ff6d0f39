"""A question that a model writes to a fact: the prompt that asks for it, and what is wrong with what came.

Pure. A small model copies what it is shown and rambles, so the prompt shows plain questions of all kinds
(of a fact that affirms, of one that denies, of a price), and what came is taken as it is or not at all. In
English for now, as the rules that score answers.
"""

from __future__ import annotations

import re
import unicodedata

from infra.events import Fact, Message
from infra.privacy import redact
from trainer.injected import injected
from trainer.words import covered, negated

# Tokens of one question: 25 words, and some room.
MAX_TOKENS = 48
# Words of a question. Of the 1,283 in the demo's data one is shorter and none longer.
FEWEST, MOST = 3, 25
# Characters of it: words of a script without spaces count as one.
LONGEST = 200

_TASK = (
    "You are a customer of a business. You are shown one fact about the business. "
    "Write one short question to which the fact is the answer."
)
# The bundled model copies how examples begin: with five that ask in more various ways (which days, how long)
# 32% of its questions had half of their content from the fact, with such plain ones 81%. It copies names too.
_EXAMPLES = (
    ("Gift cards are sold at the counter and online.", "Do you sell gift cards?"),
    ("No, orders are not delivered to islands.", "Do you deliver to islands?"),
    ("Returns: Unworn shoes may be returned within 30 days.", "Can I return shoes?"),
    ("Yes, you can choose a seat when you book.", "Can I choose my seat?"),
    ("The library is closed on Mondays.", "Is the library open on Mondays?"),
    ("Lessons cost 20 dollars an hour.", "How much does a lesson cost?"),
    ("There is a repair desk on the first floor.", "Is there a repair desk?"),
    ("Online banking is not offered.", "Do you offer online banking?"),
)
# The least share of a question's content words that its fact holds. Of the 1,283 in the demo's data 74% have
# so many; of the model's, those with fewer are mostly about something else.
_ABOUT = 0.5
# What a model says of its task rather than of the business.
_OF_THE_TASK = re.compile(r"\b(?:facts?|statements?|questions?)\b", re.IGNORECASE)
_MARKS = " \t\"'\u201c\u201d*-"
_INNER_END = re.compile(r"[.!?]\s")


def asking(fact: Fact) -> tuple[Message, ...]:
    """The prompt that asks for a question; facts that differ share all but the last message of it."""
    examples = [
        Message(role=role, content=text)
        for pair in _EXAMPLES
        for role, text in zip(("user", "assistant"), pair, strict=True)
    ]
    return (Message(role="system", content=_TASK), *examples, Message(role="user", content=shown(fact)))


def shown(fact: Fact) -> str:
    """A fact as the model sees it. A title that is a question itself is left out: it would be copied."""
    title = fact.title.strip()
    return fact.text if not title or title.endswith("?") else f"{title.rstrip('.:!')}: {fact.text}"


def cleaned(text: str) -> str:
    """The first line of what came back, without what small models put around it."""
    line = next((line for line in text.splitlines() if line.strip()), "")
    return " ".join(line.strip(_MARKS).removeprefix("Question:").split())


def flaw(question: str, fact: Fact) -> str:
    """Why a question is not taken: form, private, injection or strange; empty where nothing is wrong.

    It is one sentence with a question mark, of FEWEST to MOST words in the fact's own script, that does not
    deny (none of the demo's does), about the business and not about the task. It holds no personal data, not
    even the fact's (a phone number), since logged questions hold none; and no more than half of its content
    is strange to the fact.
    """
    if (
        not _is_one(question)
        or negated(question)
        or not _scripts(question) <= _scripts(f"{fact.title} {fact.text}")
    ):
        return "form"
    if _OF_THE_TASK.search(question) and not _OF_THE_TASK.search(fact.text):
        return "form"
    if redact(question).counts:
        return "private"
    if injected(question):
        return "injection"
    return "" if covered(question, by=f"{fact.title} {fact.text}") >= _ABOUT else "strange"


def _is_one(question: str) -> bool:
    return (
        FEWEST <= len(question.split()) <= MOST
        and len(question) <= LONGEST
        and question.endswith("?")
        and question.count("?") == 1
        and not _INNER_END.search(question)
    )


def _scripts(text: str) -> set[str]:
    """What the letters of a text are written with, such as LATIN or CYRILLIC."""
    return {unicodedata.name(letter, "").partition(" ")[0] for letter in text if letter.isalpha()}
