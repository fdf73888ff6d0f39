"""The message list that the engine gets: the system prompt with its facts, then the conversation.

Pure. Its wording decides what adapters learn and how they are judged, so there is one place for it:
evaluations ask the agent for the very prompt that a live request would send.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from infra.events import Fact, Message

HISTORY = 6  # earlier messages that are kept: three exchanges, what "it" and "there" refer to
# A token of English is about 4.5 characters in small vocabularies; 3 leaves room for other texts.
CHARACTERS_PER_TOKEN = 3
# At most this part of the room goes to facts; the rest is the conversation's.
FACTS_PART = 0.6

# A query with one of these, or with fewer words than SHORT, leans on the one before it.
_POINTERS = frozenset(
    "it its that this those these they them their there then one ones he she him her".split()
)
SHORT = 4
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Prompt:
    """`own` is the system prompt that we wrote; `history` what others said, the query last.

    Kept apart because only what others said may hold personal data.
    """

    own: str
    history: tuple[Message, ...]

    @property
    def messages(self) -> tuple[Message, ...]:
        """As the engine gets it. A caller's own system messages join ours: templates allow one."""
        extra = [message.content for message in self.history if message.role == "system"]
        system = Message(role="system", content="\n\n".join((self.own, *extra)))
        return (system, *(message for message in self.history if message.role != "system"))

    def map(self, change: Callable[[str], str]) -> Prompt:
        """The same prompt with every text that others wrote replaced by `change` of it."""
        changed = (
            message.model_copy(update={"content": change(message.content)}) for message in self.history
        )
        return replace(self, history=tuple(changed))


def build(name: str, facts: Sequence[Fact], history: Sequence[Message], room: int) -> Prompt:
    """The prompt for a business called `name`. `room` is the space for all of it, in characters.

    Facts stand best first, and the last ones go when they do not fit; of the history the oldest go.
    """
    kept = fitting_facts(facts, int(room * FACTS_PART))
    own = system(name, kept)
    return Prompt(own, recent(history, max(room - len(own), 0)))


def system(name: str, facts: Sequence[Fact]) -> str:
    """The wording that answered best without any training: see the diary of measurements."""
    if not facts:
        return (
            f"You answer customers of {name}. No facts are known about this question: say so, and do not "
            "make any up. Answer in one or two short sentences."
        )
    lines = "\n".join(f"- {line(fact)}" for fact in facts)
    return (
        f"You answer customers of {name}. Use only these facts:\n{lines}\n"
        "Answer in one or two short sentences."
    )


def line(fact: Fact) -> str:
    """One fact on one line: `Parking: it is free.`, or `Is parking free? Yes.`, or the text alone."""
    title = " ".join(fact.title.split())
    if title and title[-1] not in ".?!:":
        title += ":"
    return " ".join(f"{title} {fact.text}".split())


def fitting_facts(facts: Sequence[Fact], room: int) -> tuple[Fact, ...]:
    """The first facts that fit into `room` characters together."""
    kept: list[Fact] = []
    for fact in facts:
        room -= len(line(fact)) + 3  # the dash, the space, the line's end
        if room < 0:
            break
        kept.append(fact)
    return tuple(kept)


def recent(history: Sequence[Message], room: int) -> tuple[Message, ...]:
    """System messages, the query, and the newest messages before it that fit into `room` characters."""
    *earlier, query = history
    systems = [message for message in earlier if message.role == "system"]
    room -= len(query.content) + sum(len(message.content) for message in systems)
    spoken: list[Message] = []
    for message in reversed([message for message in earlier if message.role != "system"][-HISTORY:]):
        room -= len(message.content)
        if room < 0:
            break
        spoken.insert(0, message)
    # A conversation that begins with an answer to nothing confuses small models and some templates.
    while spoken and spoken[0].role == "assistant":
        spoken.pop(0)
    return (*systems, *spoken, query)


def search_text(history: Sequence[Message]) -> str:
    """What to look up: the query, with the one before it where it cannot be understood alone."""
    queries = [message.content for message in history if message.role == "user"]
    if len(queries) > 1 and leans_on_context(queries[-1]):
        return f"{queries[-2]} {queries[-1]}"
    return queries[-1] if queries else ""


def leans_on_context(query: str) -> bool:
    words = _WORD.findall(query.lower())
    return len(words) < SHORT or not _POINTERS.isdisjoint(words)


def room(max_model_len: int, max_tokens: int) -> int:
    """Characters that a prompt may have so that an answer of `max_tokens` still fits."""
    return max(max_model_len - max_tokens, 0) * CHARACTERS_PER_TOKEN


def turn(history: Iterable[Message]) -> int:
    """The query's number in its conversation, from 0."""
    return sum(message.role == "user" for message in history) - 1
