"""Words as the rewards and the suites compare them: content stems, polarity, length.

English for now. Pure; what counts as a good answer is decided elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from itertools import pairwise

import Stemmer

_WORD = re.compile(r"[a-z0-9]+(?:[:.][0-9]+)*")
# Between two sentences.
SENTENCES = re.compile(r"(?<=[.!?])\s+")
_NEGATION = re.compile(
    r"\b(?:no|not|none|never|neither|nor|without|cannot|unavailable|unfortunately|prohibited|forbidden)\b|n't\b",
    re.IGNORECASE,
)
_YES = re.compile(r"^\W*(?:yes|yeah|sure|absolutely|of course|certainly|definitely)\b", re.IGNORECASE)
# Says that it does not know or will not do it, or whom to ask; "we do not have a pool" is an answer.
_DECLINES = re.compile(
    r"\b(?:(?:do|does|could|would|will|is|are)(?: not|n't)|am not|can(?: not|not|'t)|won't)"
    r"(?: \w+)? (?:know|say|tell|answer|help|assist|able|sure|aware|certain|permitted)\b"
    r"|\b(?:can(?: not|not|'t)|could(?: not|n't)) (?:find|do|provide|give|share|discuss|write|explain)\b"
    r"|(?:\bnot|n't) (?:(?:have|has) (?:any |that |this |the )?information|mention|specif|state|say)"
    r"|\b(?:not (?:sure|known|mentioned|stated|specified|provided|listed)|no (?:information|facts?)|unable to"
    r"|sorry|colleague|contact|please (?:ask|call)|reach out)\b",
    re.IGNORECASE,
)
# A number, with the half of the day where it is a time.
_FIGURE = re.compile(r"(\d+(?:[.:,]\d+)*)(?:\s*([ap])\.?m\b|([ap])\b)?", re.IGNORECASE)
# Words that carry no content of their own. Negations are polarity's business, "yes" and "any" are noise.
_EMPTY = frozenset(
    """
    a about all also am an and any are as at be been being but by can could did do does done each
    few for from had has have he her here him his how i if in into is it its just may me might more
    most must my n't no not of on only or other our own please same shall she should so some such
    than that the their them then there these they this those to too us very was we were what when
    where which who will with would yes you your
    """.split()
)


@cache
def _stemmer() -> Stemmer.Stemmer:
    return Stemmer.Stemmer("english")


def stems(text: str) -> list[str]:
    """Stems of the content words in order, repeats kept; numbers and times count as words."""
    words = _WORD.findall(text.lower().replace("n't", " not"))
    return [_stemmer().stemWord(word) for word in words if word not in _EMPTY]


def added(answer: str, query: str) -> set[str]:
    """The content stems of the answer that the question does not hold."""
    return set(stems(answer)) - set(stems(query))


def figures(text: str) -> set[str]:
    """The numbers of the text; times also with their half of the day: "11:00 AM" holds "11" and "11a"."""
    found = set()
    for number, *halves in _FIGURE.findall(text.lower()):
        plain = re.sub(r"[.:]00$", "", number.replace(",", ""))
        found |= {plain, plain + "".join(halves)}
    return found


def negated(text: str) -> bool:
    """Whether the text denies: the polarity of "there is no parking" differs from "there is parking"."""
    return bool(_NEGATION.search(text))


def says_yes(text: str) -> bool:
    """Whether the text begins with a yes."""
    return bool(_YES.match(text))


def declines(text: str) -> bool:
    """Whether the text says that it does not know or will not help, or sends to somebody who might."""
    return bool(_DECLINES.search(text.replace("\u2019", "'")))


def length(text: str) -> int:
    """Number of words, as a person counts them."""
    return len(text.split())


def covered(of: str, by: str) -> float:
    """Share of the content stems of `of` that `by` holds, 0 to 1; 1 when `of` has none."""
    wanted = set(stems(of))
    return len(wanted & set(stems(by))) / len(wanted) if wanted else 1.0


def copied(answer: str, texts: Iterable[str]) -> bool:
    """Whether the answer is one of the texts word for word, but for the full stop."""
    return any(answer.strip(" .") == text.strip(" .") for text in texts)


# A larger share of repeated word pairs than this is a loop.
LOOPS = 0.2


def repeats(text: str) -> float:
    """Share of word pairs that were said before, 0 to 1: small models fall into loops."""
    pairs = list(pairwise(text.lower().split()))
    return 1.0 - len(set(pairs)) / len(pairs) if pairs else 0.0
