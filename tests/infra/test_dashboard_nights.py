"""The page of one night: what it changed and broke, where it comes from, what it cost; also as Markdown."""

from __future__ import annotations

import re
from html import unescape

import pytest

from tests.infra import dashboard_business as business
from tests.infra.test_dashboard import Shown, shown

__all__ = ["shown"]  # its fixture


def test_a_night_tells_what_changed_and_hides_nothing_that_it_broke(shown: Shown) -> None:
    night = shown.client.get(f"/api/nights/{business.NIGHT}").json()
    changes = night["changes"]
    assert changes["counts"] == {"fixed": 13, "broken": 7, "right": 10, "wrong": 10}
    assert [answer["kind"] for answer in changes["shown"]] == ["broken"] * 5 + ["fixed"] * 5
    page = unescape(shown.text(f"/nights/{business.NIGHT}"))
    for number in range(7):
        assert page.count(f"May I bring {number} dogs?") == 2, "as a heading and as its article's name"
    assert "2 more answers that were right before and are wrong now" in page


def test_a_night_leads_back_to_conversations_and_tells_its_price(shown: Shown) -> None:
    page = shown.text(f"/nights/{business.NIGHT}")
    links = set(re.findall(r'href="(/conversations/[^"#]+)#', page))
    assert links == {"/conversations/conv-0", "/conversations/conv-1"}
    assert all(shown.client.get(link).status_code == 200 for link in links)
    night = shown.client.get(f"/api/nights/{business.NIGHT}").json()
    tokens = {stage["name"]: stage["tokens"] for stage in night["costs"]["stages"]}
    assert tokens == {
        "choose": None, "resample": 61_234, "score": None, "finetune": 53_000, "evaluate": 5680,
    }  # fmt: skip
    assert night["costs"]["seconds_per_point"] == pytest.approx(1004.4 / 17.1)
    assert "+17.1 points of right answers: 58.7 s and 7,013 tokens for each." in unescape(page)


def test_the_report_can_be_taken_along_as_markdown(shown: Shown) -> None:
    answer = shown.client.get(f"/nights/{business.NIGHT}/report.md")
    assert answer.headers["content-type"] == "text/markdown; charset=utf-8"
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.text.startswith("# Night 2026-03-03: pass\n")
    assert "<script" not in answer.text
    assert shown.client.get("/nights/none/report.md").status_code == 404
