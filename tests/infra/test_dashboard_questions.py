"""The Questions page: the nights of one question, the choice among several, and what changed last."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient

from infra.dashboard.app import create_app
from infra.eventlog import open_log
from infra.lake import Lake
from infra.settings import Settings
from tests.infra import dashboard_business as business

BEGAN = datetime(2026, 3, 1, 2, tzinfo=UTC)
HOSTILE = business.HOSTILE
# An id that needs escaping in an address, looks like a telephone number, and is a part of the next.
ID = "+49 30 901820 & <b>"
LONG = f"{ID}-long"
QUESTION = f"May I park here? {HOSTILE}"
# Of each night: the adapter before it, the one after it, and whether each answered rightly.
NIGHTS = [("", "ns-a", False, True), ("ns-a", "ns-b", True, True), ("ns-a", "ns-c", True, False)]
PROMOTED = {0: "ns-a", 2: "ns-c"}


def fill(place: Settings) -> None:
    """Three nights: the first mends the question, the last breaks it; the one between is never promoted."""

    def row(id: str, at: datetime, **values: object) -> dict[str, object]:
        return {"event_id": id, "at": at, "extra": "{}", **values}

    rows: dict[str, list[dict[str, object]]] = {"evaluations": [], "nights": [], "deployments": []}
    for number, (stable, candidate, before, after) in enumerate(NIGHTS):
        at, name = BEGAN + timedelta(days=number), f"n{number}"
        told = {"slot": name, "stage": "", "reason": "", "seconds": 9.0, "manifest": "{}"}
        for state, verdict, adapter in (("started", "", ""), ("ended", "pass", candidate)):
            values = {"night": name, "state": state, "verdict": verdict, "adapter": adapter}
            rows["nights"].append(row(f"{state}-{number}", at, **values, **told))
        for case, question in ((ID, QUESTION), (LONG, "May I park a bus?")):
            for model, by, right in (("stable", stable, before), ("candidate", candidate, after)):
                asked = {"night": name, "suite": "s", "case_id": case, "group_id": "inn", "model": model}
                answer = {"adapter": by, "question": question, "answer": f"{model} of {name} {HOSTILE}"}
                cost = {"score": float(right), "tokens": 3, "latency_s": 0.1, "parts": "{}"}
                rows["evaluations"].append(row(f"{model}-{number}-{case}", at, **asked, **answer, **cost))
        if number in PROMOTED:
            decided = {"action": "promote", "adapter": PROMOTED[number], "share": 0.0, "actor": "t"}
            later = at + timedelta(hours=6)
            rows["deployments"].append(row(f"d-{number}", later, **decided, reason="", evidence="{}"))
    # One model's answers alone, which are not compared.
    for suite, case in [*(("a", f"late-7-{number}") for number in range(60)), ("z", "late-7")]:
        asked = {"night": "n0", "suite": suite, "case_id": case, "group_id": "", "model": "candidate"}
        answer = {"adapter": "ns-a", "question": "Is it late?", "answer": "Yes."}
        rows["evaluations"].append(
            row(
                f"late-{suite}-{case}",
                BEGAN,
                **asked,
                **answer,
                score=1.0,
                tokens=3,
                latency_s=0.1,
                parts="{}",
            )
        )
    with Lake.open(place, writable=True) as lake:
        lake.append(rows, {})


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    place = business.settings(tmp_path_factory.mktemp("questions"))
    fill(place)
    log = open_log(place)
    app = create_app(place, log, now=lambda: business.NOW)
    with TestClient(app, base_url="http://127.0.0.1:8081") as client:
        yield client
    log.close()


def page(client: TestClient, **asked: str) -> str:
    answer = client.get("/questions", params=asked)
    assert answer.status_code == 200, answer.text[:500]
    assert HOSTILE not in answer.text, "what people and models write is escaped"
    return answer.text


def test_a_question_has_its_nights_with_who_broke_and_who_mended_it(client: TestClient) -> None:
    found = client.get("/api/questions", params={"text": "park here"}).json()["found"]
    assert (found["suite"], found["case"], found["collection"]) == ("s", ID, "inn")
    assert (found["broke"]["night"], found["fixed"]["night"]) == ("n2", "n0")
    shown = page(client, text="park here")
    nights = [unescape(part) for part in shown.split('<li><article class="compared"')[1:]]
    assert [re.findall(r'href="/nights/(\w+)"', night) for night in nights] == [["n2"], ["n1"], ["n0"]]
    assert [(">broke it<" in night, ">mended it<" in night) for night in nights] == [
        (True, False), (False, False), (False, True),
    ]  # fmt: skip
    assert ["not promoted" in night for night in nights] == [False, True, False]
    assert 'datetime="2026-03-03T08:00:00+00:00"' in nights[0], "when it was promoted"
    assert [re.findall(r">(right|wrong)<", night) for night in nights] == [
        ["right", "wrong"], ["right", "right"], ["wrong", "right"],
    ]  # fmt: skip
    for sentence in found["told"]:
        assert sentence in unescape(shown)
    assert f"candidate of n2 {HOSTILE}" in nights[0]


def test_several_questions_that_may_be_meant_are_links_to_choose_from(client: TestClient) -> None:
    known = client.get("/api/questions", params={"text": "MAY I PARK"}).json()
    assert known["found"] is None
    assert [case["case_id"] for case in known["cases"]] == [ID, LONG]
    shown = page(client, text="may i park")
    links = [unescape(link) for link in re.findall(r'href="(/questions\?suite=[^"]+)"', shown)]
    assert len(links) == 2
    for link, case in zip(links, (ID, LONG), strict=True):
        assert client.get(link).status_code == 200
        assert client.get(f"/api{link}").json()["found"]["case"] == case


def test_a_case_that_is_named_hides_behind_no_other(client: TestClient) -> None:
    assert client.get("/api/questions", params={"text": "late-7"}).json()["found"]["suite"] == "z"
    many = client.get("/api/questions", params={"text": "is it late?"}).json()
    assert (len(many["cases"]), many["more"]) == (50, True)
    shown = page(client, text="is it late?")
    assert "More than 50 questions may be meant" in shown
    alone = page(client, suite="z", case="late-7")
    assert ">not judged<" in alone
    assert "against" not in alone, "no model before it answered"


def test_each_answer_that_a_night_changed_leads_to_its_history(client: TestClient) -> None:
    shown = client.get("/nights/n2").text
    links = [unescape(link) for link in re.findall(r'href="(/questions\?[^"]+)">history of', shown)]
    assert sorted(client.get(f"/api{link}").json()["found"]["case"] for link in links) == [ID, LONG]


def test_with_nothing_asked_it_shows_what_the_last_promoted_night_changed(client: TestClient) -> None:
    for asked in ({}, {"text": "  "}):
        lately = client.get("/api/questions", params=asked).json()["lately"]
        assert lately["night"] == "n2"
        assert lately["changes"]["counts"]["broken"] == 2
    shown = page(client)
    assert 'href="/nights/n2"' in shown
    assert shown.count(">history of this question<") == 2


def test_where_no_night_was_promoted_it_says_what_to_do(tmp_path: Path) -> None:
    place = business.settings(tmp_path)
    Lake.open(place, writable=True).close()
    log = open_log(place)
    with TestClient(create_app(place, log), base_url="http://127.0.0.1:8081") as client:
        assert client.get("/api/questions").json()["lately"] is None
        assert "nightshift night bisect" in page(client)
    log.close()


@pytest.mark.parametrize("text", ["swimming pool", HOSTILE + "!", "%", "\0"])
def test_what_no_night_has_judged_is_told(client: TestClient, text: str) -> None:
    assert client.get("/api/questions", params={"text": text}).json()["cases"] == []
    shown = unescape(page(client, text=text))
    assert "Nothing found" in shown
    assert re.search(r'href="(/conversations\?text=[^"]+)"', shown)


def test_a_case_that_is_not_there_is_a_404_that_names_it(client: TestClient) -> None:
    asked = {"suite": "s", "case": HOSTILE}
    answer = client.get("/questions", params=asked)
    assert answer.status_code == 404
    assert HOSTILE not in answer.text
    assert "No night has judged a case" in unescape(answer.text)
    assert "alert" in client.get("/api/questions", params=asked).json()["error"]
    assert client.get("/questions", params={"case": ID}).status_code == 404
    assert client.get(f"/questions?text={quote('x' * 501)}").status_code == 422


def test_personal_data_is_neither_looked_for_nor_shown(client: TestClient) -> None:
    asked = {"text": "Write to ann@example.com"}
    assert client.get("/api/questions", params=asked).json()["text"] == "Write to [EMAIL]"
    assert "ann@example.com" not in page(client, **asked)
