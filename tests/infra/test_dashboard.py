"""The dashboard's pages over a real lake, log and registry: each shows its facts, as HTML and as JSON."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from infra.dashboard import manifest, wording
from infra.dashboard.app import create_app
from infra.dashboard.live import series
from infra.dashboard.site import FOLDER, NAV
from infra.eventlog import open_log
from infra.events import DeploymentChanged
from infra.registry import Registry
from infra.secrets import without_secrets
from tests.infra import dashboard_business as business

PAGES = [
    *(path for path, _ in NAV),
    "/conversations/conv-0",
    f"/nights/{business.NIGHT}",
    "/questions?text=dogs",
    "/questions?suite=held-out&case=case-0",
]


@dataclass(frozen=True)
class Shown:
    client: TestClient
    stable: str
    canary: str

    def text(self, path: str) -> str:
        answer = self.client.get(path)
        assert answer.status_code == 200, answer.text[:500]
        return answer.text


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    """The dashboard of a business with conversations, two nights and a running canary."""
    folder = tmp_path_factory.mktemp("business")
    place = business.settings(folder / "data")
    registry = Registry(place.adapters_dir)
    stable, canary = (business.adapter(registry, folder, seed).name for seed in (1, 2))
    business.fill(place, stable, canary)
    log = open_log(place)
    business.deploy(
        log,
        DeploymentChanged(action="canary", adapter=stable, share=0.5, actor="trainer"),
        DeploymentChanged(action="promote", adapter=stable, actor="trainer", evidence=business.EVIDENCE),
        DeploymentChanged(action="canary", adapter=canary, share=0.5, actor="trainer", reason="gates passed"),
    )
    app = create_app(place, log, now=lambda: business.NOW)
    with TestClient(app, base_url="http://127.0.0.1:8081") as client:
        yield Shown(client, stable, canary)
    log.close()


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[TestClient]:
    """The dashboard of a machine where nothing has happened yet."""
    place = business.settings(tmp_path)
    log = open_log(place)
    with TestClient(create_app(place, log), base_url="http://127.0.0.1:8081") as client:
        yield client
    log.close()


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_there_and_also_as_json(shown: Shown, path: str) -> None:
    page = shown.client.get(path)
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    api = shown.client.get("/api/loop" if path == "/" else f"/api{path}")
    assert api.status_code == 200
    assert isinstance(api.json(), dict)


@pytest.mark.parametrize("path", PAGES)
def test_what_customers_write_is_escaped(shown: Shown, path: str) -> None:
    assert "<script>alert" not in shown.text(path)


def test_hostile_text_is_shown_as_text(shown: Shown) -> None:
    for path in ("/conversations/conv-0", f"/nights/{business.NIGHT}", "/dead-letters"):
        page = shown.text(path)
        assert business.HOSTILE not in page
        assert business.HOSTILE in unescape(page), path


@pytest.mark.parametrize("path", PAGES)
def test_a_page_names_nothing_outside(shown: Shown, path: str) -> None:
    page = shown.text(path)
    assert _outside(page) == []
    assert not re.search(r"<script(?![^>]*src=\"/static/)", page), "an inline script"
    assert not re.search(r"\sstyle=|\son\w+=", page), "an inline style or handler"


@pytest.mark.parametrize("file", sorted((FOLDER / "static").glob("*.*s*")), ids=lambda file: file.name)
def test_a_vendored_file_names_nothing_outside(file: Path) -> None:
    text = file.read_text() if file.suffix in (".js", ".css", ".svg") else ""
    assert _outside(re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)) == []


def test_vendored_files_are_what_the_notice_says() -> None:
    notice = (FOLDER / "static" / "THIRD_PARTY.md").read_text()
    claimed = re.findall(r"^\| `(\S+)` .*`([0-9a-f]{64})` \|$", notice, re.MULTILINE)
    assert len(claimed) == 3
    for name, sha256 in claimed:
        assert hashlib.sha256((FOLDER / "static" / name).read_bytes()).hexdigest() == sha256, name


def test_the_loop_tells_what_serves_the_verdict_and_the_lag(shown: Shown) -> None:
    loop = shown.client.get("/api/loop").json()
    assert (loop["answers"], loop["stable"], loop["canary"], loop["share"]) == (
        320,
        shown.stable,
        shown.canary,
        0.5,
    )
    assert loop["night"]["verdict"] == "pass"
    assert loop["lag"] == 3, "the three deployments are on the log, and the lake has no offset for them"
    assert [place["key"] for place in loop["places"]] == [
        "agent", "log", "collector", "lake", "trainer", "registry",
    ]  # fmt: skip
    assert loop["places"][0]["health"]["state"] == "down", "no agent runs here"
    assert "no answer on" in shown.text("/")


def test_live_counts_each_arm(shown: Shown) -> None:
    live = shown.client.get("/api/live?minutes=60").json()
    arms = {row["arm"]: row for row in live["arms"]}
    assert arms["stable"]["answers"] + arms["canary"]["answers"] == 320
    assert arms["canary"]["answers"] == 66
    assert arms["stable"]["adapter"] == shown.stable
    counted = sum(live["series"]["stable_answers"]) + sum(live["series"]["canary_answers"])
    assert counted == pytest.approx(320)
    assert 0 < arms["stable"]["good_rate"] < 1


def test_a_bucket_without_answers_is_zero_and_has_no_rate() -> None:
    row = {
        "arm": "stable",
        "bucket": datetime.fromtimestamp(120, UTC),
        "answers": 4,
        "good": 3,
        "latency_p50_s": 0.5,
    }
    found = series([row], 60, 190, 60)
    assert found["times"] == [60, 120, 180]
    assert found["stable_answers"] == [0, 4, 0]
    assert found["stable_good"] == [None, 0.75, None]
    assert found["canary_latency"] == [None, None, None]


def test_a_search_finds_words_and_takes_wildcards_as_letters(shown: Shown) -> None:
    found = shown.client.get("/api/conversations", params={"text": "BREAKFAST"}).json()["conversations"]
    assert [row["conversation_id"] for row in found] == ["conv-0"]
    assert shown.client.get("/api/conversations", params={"text": "%"}).json()["conversations"] == []
    assert "No query and no answer contains" in shown.text("/conversations?text=unicorn")


def test_older_conversations_follow_without_gap_or_overlap(shown: Shown) -> None:
    seen: list[str] = []
    before = ""
    while True:
        page = shown.client.get("/api/conversations", params={"before": before}).json()
        seen += [row["conversation_id"] for row in page["conversations"]]
        if page["next"] is None:
            break
        before = page["next"]
    assert len(seen) == len(set(seen)) == 160


def test_a_conversation_is_traceable(shown: Shown) -> None:
    page = shown.text("/conversations/conv-0")
    for fact in (
        "Breakfast is included in every room.",
        shown.stable,
        "thumbs down",
        "rephrased",
        "resp-0",
        "int-0",
    ):
        assert fact in page, fact
    assert "1 \u00d7 email" in page


def test_a_night_shows_gates_stages_rewards_and_choices(shown: Shown) -> None:
    page = shown.text(f"/nights/{business.NIGHT}")
    for fact in ("0.171", "0.102 to 0.238", "67.1%", "11 min 13 s", "resample", "Morning report", "best 158"):
        assert fact in page, fact
    night = shown.client.get(f"/api/nights/{business.NIGHT}").json()
    assert len(night["pairs"]) == 4, "groups without a chosen completion are left out"
    assert night["pairs"][0]["chosen"]["reward"] == 1.0
    assert night["pairs"][0]["rejected"]["reward"] == 0.25
    assert night["diverges"] is False


def test_a_night_without_a_manifest_has_its_page(shown: Shown) -> None:
    page = shown.text("/nights/2026-03-02")
    assert "12 chosen rows, 40 are needed." in page
    assert "not enough data" in page


def test_a_manifest_of_any_shape_is_read() -> None:
    odd = {"gates": [3, {"n": "many"}], "stages": {"a": "x"}, "reward": 4, "pass_rate": {"stable": 0.5}}
    assert manifest.gates(odd)[0]["n"] is None
    assert manifest.stages(odd) == [{"name": "a", "seconds": 0.0, "part": 0.0}]
    assert manifest.rewards(odd) == [
        {"model": "stable", "reward": None, "rate": None, "low": None, "high": None, "n": None}
    ]
    assert manifest.read("not json") == {}
    assert manifest.report({"report": "One.\n\nTwo."}, "pass", "", 1.0) == ["One.", "Two."]


def test_adapters_show_stage_lineage_and_verified_hashes(shown: Shown) -> None:
    stages = {row["name"]: row["stage"] for row in shown.client.get("/api/adapters").json()["adapters"]}
    assert stages == {shown.stable: "stable", shown.canary: "canary"}
    page = shown.text("/adapters")
    assert page.count("hashes verified") == 2
    assert f'href="/nights/{business.NIGHT}"' in page


def test_the_canary_page_has_counts_evidence_and_history(shown: Shown) -> None:
    canary = shown.client.get("/api/canary").json()
    assert canary["running"] is True
    assert {row["arm"]: row["answers"] for row in canary["arms"]} == {"canary": 66, "stable": 133}
    assert canary["evidence"]["metrics"][0]["canary"] == 0.83
    assert [row["action"] for row in canary["history"]] == ["canary", "promote", "canary"]
    assert "gates passed" in shown.text("/canary")


def test_settings_show_values_but_no_passwords(shown: Shown) -> None:
    assert "NIGHTSHIFT_TRAINER__SAMPLES" in shown.text("/settings")
    assert without_secrets("postgresql://ann:hunter2@db/lake") == "postgresql://ann:•••@db/lake"
    assert "hunter2" not in without_secrets("host=db password='hunter2' dbname=lake")


@pytest.mark.parametrize("path", ["/nowhere", "/conversations/none", "/nights/none", "/static/none.js"])
def test_what_is_not_there_is_a_clear_404(shown: Shown, path: str) -> None:
    assert shown.client.get(path).status_code == 404


def test_the_api_answers_errors_as_json(shown: Shown) -> None:
    answer = shown.client.get("/api/nights/none")
    assert answer.status_code == 404
    assert "none" in answer.json()["error"]


@pytest.mark.parametrize("path", ["/", "/live", "/conversations", "/nights", "/questions", "/dead-letters"])
def test_without_a_lake_a_page_says_what_to_do(fresh: TestClient, path: str) -> None:
    page = fresh.get(path)
    assert page.status_code == (200 if path == "/" else 503)
    assert "nightshift collector" in page.text


def test_without_a_lake_adapters_and_canary_are_there(fresh: TestClient) -> None:
    assert "No adapter yet" in fresh.get("/adapters").text
    assert "No canary yet" in fresh.get("/canary").text


def test_probes_answer(shown: Shown) -> None:
    assert shown.client.get("/livez").status_code == 200
    assert shown.client.get("/readyz").json() == {"event log": True}
    assert "process_" in shown.client.get("/metrics").text


def test_numbers_and_times_are_worded_for_people() -> None:
    now = business.NOW
    assert wording.number(12345) == "12,345"
    assert wording.percent(0.671, 1) == "67.1%"
    assert wording.points(-0.05) == "-5.0"
    assert [wording.duration(s) for s in (0.32, 4.2, 432, 11_100)] == [
        "320 ms",
        "4.2 s",
        "7 min 12 s",
        "3 h 05 min",
    ]
    assert wording.ago(now - timedelta(minutes=3), now) == "3 minutes ago"
    assert wording.ago(now + timedelta(hours=2), now) == "in 2 hours"
    assert wording.ago(now.isoformat(), now) == "just now"
    assert wording.ago("not a time", now) == wording.NONE
    assert wording.short("ns-20260304-0123456789ab-and-more") == "ns-20260304-01234…and-more"


def _outside(text: str) -> list[str]:
    """Addresses in a text that lead elsewhere; SVG's namespace is a name, not an address."""
    found: list[str] = re.findall(r"(?:https?:)?//[a-z0-9][\w.-]*\.[a-z]{2,}[^\s\"'<>)]*", text)
    return [address for address in found if not address.startswith("http://www.w3.org/")]
