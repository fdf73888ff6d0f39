"""Feedback: about answers of ours alone, and recorded without personal data."""

from __future__ import annotations

from tests.agent.agents import Live


async def test_feedback_is_recorded_without_personal_data(live: Live) -> None:
    answer = await live.ask("Is parking free?")
    status, told = await live.post(
        "/v1/feedback",
        {
            "response_id": answer.id,
            "rating": -1,
            "comment": "Mail ann@example.com",
            "correction": "It is free.",
        },
    )
    assert (status, told) == (200, {"recorded": True, "response_id": answer.id})
    (recorded,) = live.feedback()
    assert (recorded.response_id, recorded.rating) == (answer.id, -1)
    assert (recorded.comment, recorded.correction) == ("Mail [EMAIL]", "It is free.")


async def test_what_is_not_feedback_on_an_answer_is_refused(live: Live) -> None:
    answer = await live.ask("Is parking free?")
    forged = answer.id[:-1] + ("0" if answer.id[-1] != "0" else "1")
    for body, status in (
        ({"response_id": "chatcmpl-made-up", "rating": 1}, 404),
        ({"response_id": forged, "rating": 1}, 404),
        ({"response_id": "é", "rating": 1}, 404),
        ({"response_id": answer.id, "rating": 2}, 400),
        ({"response_id": answer.id, "rating": 0}, 400),
        ({"response_id": answer.id, "rating": 1, "comment": "x" * 5000}, 400),
        ({"rating": 1}, 400),
        (b"{", 400),
    ):
        got, told = await live.post("/v1/feedback", body)
        assert got == status, body
        assert told["error"]["message"]
    assert live.feedback() == []
