"""Numbers that tell a right answer from a wrong one, and the asked fact from its neighbours.

Pure. `stated` compares an answer with one fact as if that fact were the asked one, `manner` looks at the
answer alone, `asked` compares the query with each retrieved fact. None of them knows a label.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np

from trainer.reward.text import Text, unit
from trainer.words import repeats, stems

if TYPE_CHECKING:
    from numpy.typing import NDArray

STATED = (
    "fact_covered",
    "fact_covered_weighted",
    "fact_covered_soft",
    "news_covered",
    "news_covered_soft",
    "news",
    "supported",
    "supported_weighted",
    "supported_soft",
    "from_fact",
    "from_fact_soft",
    "polarity_agrees",
    "denies_an_affirmed",
    "affirms_a_denied",
    "yes_to_a_denied",
    "no_to_an_affirmed",
    "numbers_unknown",
    "numbers_missing",
    "numbers_shared",
    "meaning",
    "meaning_with_query",
    "pairs_covered",
    "fact_denies",
    "fact_stems",
    "overlap",
)
MANNER = (
    "words",
    "yes",
    "no",
    "denies",
    "numbers",
    "unsupported",
    "unsupported_soft",
    "names_unknown",
    "repeats",
    "query_covered",
    "query_covered_soft",
    "open_query",
)
ASKED = (
    "query_covered",
    "query_covered_weighted",
    "query_covered_soft",
    "meaning",
    "rank",
    "begins_with_query",
    "rare_covered",
    "rare_covered_soft",
    "news_share",
    "leads_with_query",
    "fact_covered_soft",
    "pairs_covered",
    "number",
    "money",
    "time",
    "place",
    "yes_or_no",
    "how_much_of",
    "lists",
    "meaning_encoded",
)

_HOW_MUCH = re.compile(
    r"\bhow (?:much|many|long|far|old|big|often)\b|\bwhat (?:time|age|price|fee|is the (?:cost|price|fee|"
    r"rate|minimum|maximum|age|charge))|\bcosts?\b|\bprices?\b|\bfees?\b|\bhours?\b|\bwhen\b",
    re.IGNORECASE,
)
_HOW_MUCH_OF = re.compile(
    r"\bhow (?:much|many)\s+(?!is\b|does\b|do\b|are\b|will\b|would\b|for\b)(\w+)", re.IGNORECASE
)
_ASKS_MONEY = re.compile(
    r"\bhow much (?:is|does|do|are|will|would|for)\b|\bcosts?\b|\bprices?\b|\bfees?\b|\bcharged?s?\b|"
    r"\bfree\b|\bpay extra\b|\bexpensive\b|\bcomplimentary\b",
    re.IGNORECASE,
)
_MONEY = re.compile(
    r"[$£€]|\b(?:gbp|usd|dollars?|pounds?|euros?|free|fees?|costs?|charged?s?|price[sd]?|complimentary|extra|"
    r"surcharge|paid|additional)\b",
    re.IGNORECASE,
)
_ASKS_TIME = re.compile(
    r"\bwhat time|\bwhen\b|\bhours?\b|\bopen|\bclos(?:e|ing)|\bhow (?:late|early)", re.IGNORECASE
)
_TIME = re.compile(r"\bt\d+\b|\b(?:hours?|am|pm|a\.m|p\.m|daily|monday|sunday|midnight|noon|24/7)\b")
_CLOCK = re.compile(r"\bt\d+\b")
_ASKS_PLACE = re.compile(r"\bwhere\b|\baddress|\blocated|\blocation\b", re.IGNORECASE)
_PLACE = re.compile(r"\b(?:at|on|near|located|street|avenue|floor)\b", re.IGNORECASE)
_ASKS_YES_OR_NO = re.compile(
    r"^\W*(?:is|are|do|does|did|can|could|may|will|would|has|have|am|should|must|was)\b", re.IGNORECASE
)
_ASKS_LIST = re.compile(r"\bwhat (?:kinds?|types?|sorts?|languages?|forms?)\b|\bwhich\b", re.IGNORECASE)
_OPEN = re.compile(r"^\W*(?:what|how|which|when|where|who)", re.IGNORECASE)


def stated(query: Text, answer: Text, fact: Text) -> list[float]:
    """How an answer states a fact, in the order of STATED; shares are 0 to 1."""
    new = [index for index, stem in enumerate(fact.stems) if stem not in query.content]
    given = fact.content | query.content
    said = bool(answer.stems)
    both = unit(query.vector_D + answer.vector_D) @ unit(query.vector_D + fact.vector_D)
    return [
        len(fact.content & answer.content) / len(fact.content) if fact.content else 1.0,
        _weighted(fact, answer.content),
        _soft(fact, [answer]),
        _weighted(fact, answer.content, new),
        _soft(fact, [answer], new),
        float(len(new)),
        _share(answer.stems, given),
        _weighted(answer, given) if said else 0.0,
        _soft(answer, [fact, query]) if said else 0.0,
        _share(answer.stems, fact.content),
        _soft(answer, [fact]) if said else 0.0,
        float(answer.negated == fact.negated),
        float(answer.negated and not fact.negated),
        float(fact.negated and not answer.negated),
        float(answer.yes and fact.negated),
        float(answer.no and not fact.negated),
        float(len(answer.numbers - fact.numbers - query.numbers)),
        float(len(fact.numbers - answer.numbers)),
        float(len(answer.numbers & fact.numbers)),
        float(answer.vector_D @ fact.vector_D),
        float(both),
        len(answer.pairs & fact.pairs) / max(1, len(fact.pairs)),
        float(fact.negated),
        float(len(fact.stems)),
        len(fact.content & answer.content) / max(1, len(fact.content | answer.content)),
    ]


def manner(query: Text, answer: Text, facts: Sequence[Text]) -> list[float]:
    """What an answer is like against all facts together, in the order of MANNER."""
    given = query.content.union(*(fact.content for fact in facts))
    return [
        float(answer.length),
        float(answer.yes),
        float(answer.no),
        float(answer.negated),
        float(len(answer.numbers)),
        sum(stem not in given for stem in answer.stems) / max(1, len(answer.stems)),
        1.0 - _soft(answer, [query, *facts]) if answer.stems else 1.0,
        float(len(answer.names - given)),
        repeats(answer.raw),
        _weighted(query, answer.content),
        _soft(query, [answer]),
        float(bool(_OPEN.match(query.raw))),
    ]


def asked(query: Text, facts: Sequence[Text], encoded_F: NDArray[np.float32]) -> list[list[float]]:
    """How well each fact fits the query, a row for each in the order of ASKED.

    `encoded_F` are the sentence encoder's cosines of query and fact.
    """
    holders = Counter(stem for fact in facts for stem in fact.content)
    near_F_S = _nearness(query, facts)
    near_S = near_F_S.sum(axis=0)
    # A word of the query that few of the facts hold, or come near to, tells them apart.
    rare_S = np.array(
        [
            weight * np.log((len(facts) + 1) / (holders[stem] + 0.5)) if holders[stem] else 0.0
            for stem, weight in zip(query.stems, query.weights_S, strict=True)
        ]
    )
    rare_soft_S = query.weights_S * np.log((len(facts) + 1) / (near_S + 0.5))
    soft_F = near_F_S @ rare_soft_S / max(float(rare_soft_S.sum()), 1e-6)
    return [
        [*_fits(query, fact, rank, rare_S, float(soft)), *_kinds(query, fact), float(cosine)]
        for rank, (fact, soft, cosine) in enumerate(zip(facts, soft_F, encoded_F, strict=True))
    ]


def _fits(query: Text, fact: Text, rank: int, rare_S: NDArray[np.float64], rare_soft: float) -> list[float]:
    total = float(rare_S.sum())
    held = sum(rare for rare, stem in zip(rare_S, query.stems, strict=True) if stem in fact.content)
    return [
        len(query.content & fact.content) / max(1, len(query.content)),
        _weighted(query, fact.content),
        _soft(query, [fact]),
        float(query.vector_D @ fact.vector_D),
        1.0 / (1 + rank),
        float(bool(fact.stems) and fact.stems[0] in query.content),
        float(held) / total if total > 0 else 0.0,
        rare_soft,
        len(fact.content - query.content) / max(1, len(fact.content)),
        _share(fact.stems[:3], query.content),
        _soft(fact, [query]),
        len(query.pairs & fact.pairs) / max(1, len(query.pairs)),
    ]


def _kinds(query: Text, fact: Text) -> list[float]:
    """Whether the fact is of the kind that the query asks for: 1 it is, -1 it is not, between: no matter."""
    counted = _HOW_MUCH_OF.search(query.raw)
    names_it = counted is not None and not fact.content.isdisjoint(stems(counted[1]))
    decides = fact.yes or fact.no
    return [
        _kind(bool(_HOW_MUCH.search(query.raw)), bool(fact.numbers)),
        _kind(bool(_ASKS_MONEY.search(query.raw)), bool(_MONEY.search(fact.raw)), unasked=-0.5),
        _kind(
            bool(_ASKS_TIME.search(query.raw)),
            bool(_TIME.search(fact.canonical)),
            unasked=-0.5 if _CLOCK.search(fact.canonical) else 0.0,
        ),
        _kind(bool(_ASKS_PLACE.search(query.raw)), bool(_PLACE.search(fact.raw))),
        float(decides or fact.negated) if _ASKS_YES_OR_NO.match(query.raw) else -float(decides),
        (float(bool(fact.numbers)) if names_it else -1.0) if counted else 0.0,
        float(min(3, fact.raw.count(","))) if _ASKS_LIST.search(query.raw) else 0.0,
    ]


def _nearness(query: Text, facts: Sequence[Text]) -> NDArray[np.float64]:
    """How near each fact comes to each word of the query, 0 to 1. Shape (facts, stems of the query)."""
    found = np.zeros((len(facts), len(query.stems)))
    for row, fact in enumerate(facts):
        if fact.stems and query.stems:
            found[row] = np.clip((query.words_S_D @ fact.words_S_D.T).max(axis=1), 0.0, 1.0)
    return found


def _kind(asks: bool, has: bool, unasked: float = 0.0) -> float:
    if asks:
        return 1.0 if has else -1.0
    return unasked if has or unasked == 0.0 else 0.0


def _share(of: Sequence[str], by: Collection[str]) -> float:
    """Share of the stems that are in `by`; 0 without stems."""
    return sum(stem in by for stem in of) / max(1, len(of))


def _weighted(of: Text, by: Collection[str], only: Sequence[int] | None = None) -> float:
    """Share, by weight, of the stems of `of` that are in `by`; 1 when there is nothing to cover."""
    chosen = range(len(of.stems)) if only is None else only
    total = float(sum(of.weights_S[index] for index in chosen))
    held = float(sum(of.weights_S[index] for index in chosen if of.stems[index] in by))
    return held / total if total > 0 else 1.0


def _soft(of: Text, by: Sequence[Text], only: Sequence[int] | None = None) -> float:
    """As `_weighted`, but a word counts by its nearest word in `by`; numbers must be the same.

    The greedy matching of BERTScore (Zhang et al. 2020), on static vectors.
    """
    chosen = list(range(len(of.stems)) if only is None else only)
    weights = of.weights_S[chosen]
    total = float(weights.sum())
    if total <= 0:
        return 1.0
    others = np.concatenate([text.words_S_D for text in by])
    if not len(others):
        return 0.0
    nearest = np.clip((of.words_S_D[chosen] @ others.T).max(axis=1), 0.0, 1.0)
    for place, index in enumerate(chosen):
        stem = of.stems[index]
        if any(stem in text.content for text in by):
            nearest[place] = 1.0
        elif stem in of.numbers:
            nearest[place] = 0.0
    return float((nearest * weights).sum()) / total
