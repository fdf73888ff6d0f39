"""Other prompts to sample from than the one that was served, for completions that differ more.

Pure. What is trained on keeps the served prompt: a variant only makes candidates. Facts are found in the
logged prompt as the agent writes them, on lines that begin with a dash.
"""

from __future__ import annotations

from collections.abc import Sequence

from infra.events import Message

SERVED = "served"  # as it was sent
QUOTED = "quoted"  # the model first quotes the fact that answers, then answers
FIRST = "first"  # only the fact that was retrieved first

_ANSWER = "Answer:"
_QUOTE = (
    'First write "Fact:" and the one fact that answers. '
    f'Then write "{_ANSWER}" on a new line, and your answer to the customer.'
)


def prompted(variant: str, prompt: Sequence[Message]) -> tuple[Message, ...]:
    """The prompt in that variant; without a system message, or without facts in it, as it was served."""
    if variant == SERVED or not prompt or prompt[0].role != "system":
        return tuple(prompt)
    system, *rest = prompt
    lines = system.content.splitlines()
    facts = _facts(lines)
    if not facts:
        return tuple(prompt)
    if variant == QUOTED:
        changed = [*lines, _QUOTE]
    else:
        assert variant == FIRST, variant
        changed = [*lines[: facts.start + 1], *lines[facts.stop :]]
    return (system.model_copy(update={"content": "\n".join(changed)}), *rest)


def usable(variant: str, text: str) -> str:
    """The answer in a completion of that variant; empty, so never good, where none follows a quote."""
    if variant != QUOTED:
        return text.strip()
    return text.partition(_ANSWER)[2].strip()


def _facts(lines: Sequence[str]) -> range:
    """Where the facts stand: the first lines in a row that begin with a dash."""
    start = next((place for place, line in enumerate(lines) if line.startswith("- ")), len(lines))
    stop = start
    while stop < len(lines) and lines[stop].startswith("- "):
        stop += 1
    return range(start, stop)
