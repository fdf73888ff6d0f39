"""The prompt: its wording, its bounds, and what is looked up."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent import prompt
from infra.events import Fact, Message


def user(text: str) -> Message:
    return Message(role="user", content=text)


def assistant(text: str) -> Message:
    return Message(role="assistant", content=text)


def test_facts_stand_best_first_in_the_system_prompt() -> None:
    facts = (
        Fact(title="Parking", text="It is free."),
        Fact(title="Pets?", text="No."),
        Fact(title="", text="Hi."),
    )
    built = prompt.build("THE INN", facts, (user("Parking?"),), 4000)
    assert built.messages == (
        Message(
            role="system",
            content="You answer customers of THE INN. Use only these facts:\n"
            "- Parking: It is free.\n- Pets? No.\n- Hi.\nAnswer in one or two short sentences.",
        ),
        user("Parking?"),
    )


def test_a_callers_system_message_joins_ours_and_counts_as_theirs() -> None:
    built = prompt.build("THE INN", (), (Message(role="system", content="Be kind."), user("Hi")), 4000)
    assert [message.role for message in built.messages] == ["system", "user"]
    assert built.messages[0].content.endswith("\n\nBe kind.")
    assert built.map(str.upper).messages[0].content == f"{built.own}\n\nBE KIND."


def test_only_recent_history_is_kept_and_it_begins_with_the_customer() -> None:
    history = [message for i in range(5) for message in (user(f"q{i}"), assistant(f"a{i}"))]
    built = prompt.build("THE INN", (), (*history, user("now")), 4000)
    assert [message.content for message in built.history] == ["q2", "a2", "q3", "a3", "q4", "a4", "now"]
    cramped = prompt.recent((user("x" * 50), assistant("short"), user("now")), 20)
    assert [message.content for message in cramped] == ["now"]


@given(st.lists(st.text(max_size=400), min_size=1, max_size=12), st.integers(500, 3000))
def test_facts_never_take_more_than_their_part(texts: list[str], room: int) -> None:
    built = prompt.build("THE INN", [Fact(title="t", text=text) for text in texts], (user("q"),), room)
    assert len(built.own) <= room * prompt.FACTS_PART + 200  # the sentences around them
    assert built.history[-1].content == "q"


def test_a_query_that_leans_on_the_last_one_is_looked_up_with_it() -> None:
    talk = (user("Do you have a pool?"), assistant("Yes."), user("Is it heated in winter, though?"))
    assert prompt.search_text(talk) == "Do you have a pool? Is it heated in winter, though?"
    assert prompt.search_text((*talk[:2], user("And on Sundays?"))) == "Do you have a pool? And on Sundays?"
    assert prompt.search_text((*talk[:2], user("When does breakfast begin on Sundays?"))).startswith("When")
    assert prompt.turn(talk) == 1
