"""Cold start: questions that a night writes itself where customers have asked too few, from what is known.

The base model writes a question to a fact; it is taken only if the agent finds that very fact for it. This is
round-trip consistency: Alberti et al. 2019, "Synthetic QA Corpora Generation with Roundtrip Consistency"; by
retrieval in PAQ (Lewis et al. 2021). Then it is answered, scored and chosen like any customer's.

The base model writes, whatever serves, since adapters learn to answer. These questions are not logged, so
replay never finds them: the same come again in each night that lacks some.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from infra.engine import Sampling
from infra.events import Fact
from trainer.agent import Agent, Built
from trainer.duplicates import Questions, wording
from trainer.journal import Journal
from trainer.judged import Asked, Judged
from trainer.notes import Synthesised
from trainer.queries import Query
from trainer.question import MAX_TOKENS, asking, cleaned, flaw, shown
from trainer.resample import Told, advanced
from trainer.served import Served

# Questions sampled to one fact; the first that is taken counts.
TRIES = 3
# Facts asked about for each question that is wanted, at most: a model that fails at three of four fails at
# most of the others too, and a night must not take hours to find out.
FACTS = 4
# Characters of a token, as the agent reckons; and tokens before the fact: 261 in the bundled model's words.
_CHARACTERS = 3
_EXAMPLES = 350
# Why a fact gave no question, the nearest miss last: not one question, personal data, orders to a model, one
# about something else, one that a suite judges by, one that was asked or written already, one for which
# another fact is found first.
REASONS = ("form", "private", "injection", "strange", "judged", "known", "lost")


@dataclass(frozen=True, slots=True)
class Piece:
    """A fact of a collection."""

    collection: str
    fact: Fact

    @property
    def key(self) -> str:
        return _digest(self.collection, self.fact.title, self.fact.text)


class Written(BaseModel):
    """What came of one fact: a query, or why there is none (one of REASONS). `tokens` were sampled for it."""

    model_config = ConfigDict(frozen=True)

    fact: str
    tokens: int
    query: Query | None = None
    dropped: str = ""


def lacking(most: int, known: int, new: int, serving: bool) -> int:
    """How many questions a night writes: what it lacks of `most`, having `known`, `new` ones among them.

    None when an adapter serves and customers asked nothing new. A night teaches how to answer from facts,
    not the facts, so questions of its own would only train the same once more.
    """
    return max(0, most - known) if new or not serving else 0


def spread(known: Mapping[str, Sequence[Fact]], logged: Iterable[Query], seed: int) -> list[Piece]:
    """Every fact once: one of each collection, then another of each, in an order that `seed` alone decides.

    In each collection those come first that are no logged question's first fact.
    """
    hit = {(query.collection, *_same(query.facts[0])) for query in logged if query.facts}
    rng = random.Random(seed)
    hands = [_hand(name, known[name], hit, rng) for name in sorted(known)]
    return [piece for pieces in zip_longest(*hands) for piece in pieces if piece is not None]


def _hand(
    name: str, facts: Sequence[Fact], hit: Container[tuple[str, str, str]], rng: random.Random
) -> list[Piece]:
    once = list({_same(fact): fact for fact in facts}.values())
    rng.shuffle(once)
    once.sort(key=lambda fact: (name, *_same(fact)) in hit)
    return [Piece(name, fact) for fact in once]


async def facts(agent: Agent, held_out: Iterable[str], max_model_len: int) -> dict[str, list[Fact]]:
    """What each business that is not held out knows, without what does not fit into the model's window.

    Raises:
        EngineError: the agent refused, or stayed away for longer than our patience.
    """
    room = (max_model_len - _EXAMPLES - MAX_TOKENS) * _CHARACTERS
    names = set(await agent.collections()) - set(held_out)
    return {
        name: [fact for fact in await agent.facts(name) if len(shown(fact)) <= room] for name in sorted(names)
    }


class Taken:
    """Questions that must not come again: those that suites judge by, and those that customers asked."""

    def __init__(self, judged: Iterable[Asked], logged: Iterable[Query]) -> None:
        self._judged = Judged(judged)
        self._known: defaultdict[str, Questions] = defaultdict(Questions)
        for query in logged:
            self.add(query)

    def why(self, collection: str, question: str) -> str:
        """judged or known when it is a near-duplicate of one of them, else empty."""
        asked = wording(question)
        if self._judged.near(collection, asked):
            return "judged"
        return "known" if self._known[collection].holds(asked) else ""

    def add(self, query: Query) -> None:
        """Takes a question; near-duplicates of it are known from now on."""
        self._known[query.collection].add(wording(query.query))


class Writer:
    """Writes a question to a fact, with the model and the agent. Finished ones are in the journal `file`.

    `sampling.seed` is advanced by the fact's place, as in resampling.
    """

    def __init__(
        self, model: Served, agent: Agent, taken: Taken, sampling: Sampling, concurrency: int, file: Path
    ) -> None:
        self._model = model
        self._agent = agent
        self._taken = taken
        self._sampling = sampling
        self._gate = asyncio.Semaphore(concurrency)
        self._journal = Journal(file, Written, key=lambda line: line.fact)

    async def write(self, pieces: Sequence[Piece], wanted: int, told: Told) -> Synthesised:
        """At most `wanted` questions, from the first of `pieces` that give one.

        Raises:
            EngineError: engine or agent refused, or stayed away for longer than our patience.
        """
        queries: list[Query] = []
        dropped: Counter[str] = Counter()
        asked = tokens = 0
        while len(queries) < wanted and asked < min(len(pieces), FACTS * wanted):
            # As many as are missing: what is asked for depends on what came of those before, and on no clock.
            some = pieces[asked : asked + wanted - len(queries)]
            for written in await self._each(some, asked, told):
                tokens += written.tokens
                query, why = self._first(written)
                if query:
                    queries.append(query)
                else:
                    dropped[why] += 1
            asked += len(some)
        return Synthesised(queries=tuple(queries), asked=asked, dropped=dict(dropped), tokens=tokens)

    def _first(self, written: Written) -> tuple[Query | None, str]:
        """Of near-duplicates that were written at the same time, the first is taken."""
        query = written.query
        if query is None:
            return None, written.dropped
        if why := self._taken.why(query.collection, query.query):
            return None, why
        self._taken.add(query)
        return query, ""

    async def _each(self, pieces: Sequence[Piece], first: int, told: Told) -> list[Written]:
        async def one(place: int, piece: Piece) -> None:
            async with self._gate:
                self._journal.append(await self._one(piece, 1000 * place))
            told(len(self._journal), first + len(pieces))

        async with asyncio.TaskGroup() as tasks:
            for place, piece in enumerate(pieces, start=first):
                if piece.key not in self._journal:
                    tasks.create_task(one(place, piece))
        return [self._journal[piece.key] for piece in pieces]

    async def _one(self, piece: Piece, seed: int) -> Written:
        answer = await self._model.chat(asking(piece.fact), advanced(self._sampling, seed), n=TRIES)
        # A title that is a question was written by whoever knows what customers ask: better than none.
        questions = [*(cleaned(choice.text) for choice in answer.choices), piece.fact.title]
        dropped = []
        for question in dict.fromkeys(questions):
            query, why = await self._judge(piece, question)
            if query:
                return Written(fact=piece.key, tokens=answer.completion_tokens, query=query)
            dropped.append(why)
        nearest = max(dropped, key=REASONS.index)
        return Written(fact=piece.key, tokens=answer.completion_tokens, dropped=nearest)

    async def _judge(self, piece: Piece, question: str) -> tuple[Query | None, str]:
        if why := flaw(question, piece.fact) or self._taken.why(piece.collection, question):
            return None, why
        built = await self._agent.prompt(piece.collection, question)
        return (_query(piece, question, built), "") if found(built, piece.fact) else (None, "lost")


def found(built: Built, fact: Fact) -> bool:
    """Whether the agent finds the fact first: rewards judge an answer by the first fact."""
    return bool(built.facts) and _same(built.facts[0]) == _same(fact)


def _query(piece: Piece, question: str, built: Built) -> Query:
    return Query(
        response_id=f"synthetic-{_digest(piece.collection, question)}",
        conversation_id="",
        collection=piece.collection,
        query=question,
        prompt=built.messages,
        facts=built.facts,
        synthetic=True,
    )


def _same(fact: Fact) -> tuple[str, str]:
    """What makes two facts the same: not the score that a search gave them."""
    return fact.title, fact.text


def _digest(*texts: str) -> str:
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:16]
