"""Other prompts to sample from, read from the prompt that was served."""

from __future__ import annotations

import pytest

from infra.events import Message
from trainer.variants import FIRST, QUOTED, SERVED, prompted, usable

SYSTEM = (
    "You answer customers of the inn. Use only these facts:\n- Parking: it is free.\n- Dogs: none.\n"
    "Answer in one or two short sentences.\n\nA caller's own words.\n- a list of theirs"
)
PROMPT = (Message(role="system", content=SYSTEM), Message(role="user", content="Is parking free?"))


def test_the_served_prompt_stays_as_it_is() -> None:
    assert prompted(SERVED, PROMPT) == PROMPT


def test_the_first_fact_alone_keeps_all_else() -> None:
    system, user = prompted(FIRST, PROMPT)
    assert system.content == SYSTEM.replace("- Dogs: none.\n", "")
    assert user == PROMPT[1]


def test_a_quote_is_asked_for_and_only_the_answer_is_used() -> None:
    system, _ = prompted(QUOTED, PROMPT)
    assert system.content.startswith(SYSTEM)
    assert "Fact:" in system.content
    assert usable(QUOTED, "Fact: Parking is free.\nAnswer: Yes, it is free. ") == "Yes, it is free."
    assert usable(QUOTED, "Fact: Parking is free.") == ""
    assert usable(FIRST, " Yes. ") == "Yes."


@pytest.mark.parametrize("variant", [QUOTED, FIRST])
def test_without_facts_there_is_nothing_to_vary(variant: str) -> None:
    bare = (Message(role="system", content="You answer customers of the inn."), PROMPT[1])
    assert prompted(variant, bare) == bare
    assert prompted(variant, PROMPT[1:]) == PROMPT[1:]
