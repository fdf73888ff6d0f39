"""Who may come in, and what another site cannot do: login, sessions, CSRF, the two buttons."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from infra.dashboard.app import create_app
from infra.dashboard.guard import COOKIE
from infra.dashboard.security import (
    SESSION_LIFE,
    TOKEN_LIFE,
    LoginToken,
    Signer,
    host_name,
    same_site,
    signing_key,
)
from infra.eventlog import open_log
from infra.eventlog.base import EventLog, from_beginning
from infra.events import DeploymentChanged, Event, Topic
from infra.keys import KeyStore
from infra.registry import Adapter, Registry
from infra.settings import Settings
from tests.infra import dashboard_business as business

HOME = "http://127.0.0.1:8081"


@dataclass(frozen=True)
class Desk:
    """A dashboard with two registered adapters and nothing deployed."""

    place: Settings
    log: EventLog
    client: TestClient
    one: Adapter
    two: Adapter

    def press(self, path: str, **changes: str) -> int:
        """Sends a button's form as a browser does; `changes` spoil it. Returns the status."""
        form = {"reason": "looks good", "confirm": "yes"} | changes
        if "csrf" not in form:
            form["csrf"] = self.csrf()
        headers = {"origin": form.pop("origin", str(self.client.base_url)), "sec-fetch-site": "same-origin"}
        return self.client.post(path, data=form, headers=headers, follow_redirects=False).status_code

    def csrf(self) -> str:
        found = re.search(r'name="csrf" value="(\w+)"', self.client.get("/adapters").text)
        assert found, "the page has no form"
        return found[1]

    def deployments(self) -> list[DeploymentChanged]:
        reader = self.log.reader([Topic.DEPLOYMENTS], from_beginning)
        bodies = [Event.decode(record.value).parse() for record in reader.poll(0.0)]
        reader.close()
        return [body for body in bodies if isinstance(body, DeploymentChanged)]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with ExitStack() as stack:
        yield _desk(stack, tmp_path, "127.0.0.1", HOME)


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[Desk]:
    """The same, listening for other machines."""
    with ExitStack() as stack:
        yield _desk(stack, tmp_path, "0.0.0.0", "http://shop.example:8081")


def _desk(stack: ExitStack, folder: Path, host: str, url: str) -> Desk:
    place = business.settings(folder / "data", host)
    registry = Registry(place.adapters_dir)
    one, two = (business.adapter(registry, folder, seed) for seed in (1, 2))
    log = open_log(place)
    stack.callback(log.close)
    client = stack.enter_context(TestClient(create_app(place, log, lambda: business.NOW), base_url=url))
    return Desk(place, log, client, one, two)


def test_promote_appends_exactly_one_event(desk: Desk) -> None:
    assert desk.press(f"/adapters/{desk.one.name}/promote") == 303
    (change,) = desk.deployments()
    assert (change.action, change.adapter, change.reason) == ("promote", desk.one.name, "looks good")
    assert change.actor == "operator on this machine"
    assert desk.client.get("/api/canary").json()["stable"] == desk.one.name


def test_a_second_press_changes_nothing(desk: Desk) -> None:
    path, token = f"/adapters/{desk.one.name}/promote", desk.csrf()
    with ThreadPoolExecutor(4) as pool:
        statuses = list(pool.map(lambda _: desk.press(path, csrf=token), range(4)))
    assert sorted(statuses) == [303, 409, 409, 409]
    assert len(desk.deployments()) == 1


def test_roll_back_takes_the_stable_one_back_for_good(desk: Desk) -> None:
    desk.press(f"/adapters/{desk.one.name}/promote")
    desk.press(f"/adapters/{desk.two.name}/promote")
    assert desk.press(f"/adapters/{desk.two.name}/roll-back", reason="wrong prices") == 303
    assert [c.action for c in desk.deployments()] == ["promote", "promote", "roll_back"]
    page = desk.client.get("/api/adapters").json()
    assert page["stable"] == desk.one.name
    assert {row["name"]: row["stage"] for row in page["adapters"]}[desk.two.name] == "rejected"
    assert desk.press(f"/adapters/{desk.two.name}/promote") == 409, "rejected stays rejected"


def test_what_serves_nobody_cannot_be_rolled_back(desk: Desk) -> None:
    assert desk.press(f"/adapters/{desk.one.name}/roll-back") == 409
    assert desk.deployments() == []


def test_an_altered_adapter_is_not_promoted_but_can_be_taken_back(desk: Desk) -> None:
    desk.press(f"/adapters/{desk.two.name}/promote")
    for adapter in (desk.one, desk.two):
        (adapter.folder / "adapter_model.safetensors").write_bytes(b"other weights")
    assert desk.press(f"/adapters/{desk.one.name}/promote") == 409
    assert desk.press(f"/adapters/{desk.two.name}/roll-back") == 303


def test_an_unknown_adapter_is_refused(desk: Desk) -> None:
    assert desk.press("/adapters/ns-20260101-000000000000/promote") == 404
    assert desk.press("/adapters/..%2Fkeys/promote") in (404, 409)
    assert desk.deployments() == []


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"csrf": ""}, 403),
        ({"csrf": "0" * 64}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "http://127.0.0.1:9999"}, 403),
        ({"origin": "null"}, 403),
        ({"reason": "  "}, 422),
        ({"confirm": ""}, 422),
        ({"reason": "x" * 501}, 422),
    ],
)
def test_a_spoilt_form_changes_nothing(desk: Desk, changes: dict[str, str], status: int) -> None:
    assert desk.press(f"/adapters/{desk.one.name}/promote", **changes) == status
    assert desk.deployments() == []


def test_a_token_of_another_session_does_not_fit(desk: Desk) -> None:
    token = desk.csrf()
    desk.client.cookies.clear()
    assert desk.press(f"/adapters/{desk.one.name}/promote", csrf=token) == 403
    assert desk.deployments() == []


def test_a_browser_that_calls_it_cross_site_is_refused(desk: Desk) -> None:
    answer = desk.client.post(
        f"/adapters/{desk.one.name}/promote",
        data={"csrf": desk.csrf(), "reason": "x", "confirm": "yes"},
        headers={"sec-fetch-site": "cross-site"},
    )
    assert answer.status_code == 403


def test_on_loopback_a_foreign_host_name_is_refused(desk: Desk) -> None:
    for host in ("evil.example", "127.0.0.1.evil.example", "evil.example:8081", ""):
        assert desk.client.get("/", headers={"host": host}).status_code == 403, host
    for host in ("localhost:8081", "127.0.0.1", "[::1]:8081"):
        assert desk.client.get("/adapters", headers={"host": host}).status_code == 200, host


def test_every_answer_carries_the_headers(desk: Desk) -> None:
    for path in ("/adapters", "/nowhere", "/static/nightshift.css", "/api/settings"):
        headers = desk.client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-frame-options"] == "DENY"
    assert desk.client.get("/adapters").headers["cache-control"] == "no-store"


def test_the_cookie_is_strict_and_out_of_reach_of_scripts(desk: Desk) -> None:
    cookie = desk.client.get("/adapters").headers["set-cookie"]
    assert cookie.startswith(COOKIE)
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    assert "set-cookie" not in desk.client.get("/adapters").headers, "once is enough"


def test_beyond_loopback_everything_but_login_and_probes_is_closed(remote: Desk) -> None:
    for path in ("/", "/adapters", "/conversations/conv-0"):
        answer = remote.client.get(path, follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    assert remote.client.get("/api/adapters").status_code == 401
    assert remote.client.post(f"/adapters/{remote.one.name}/promote").status_code == 401
    assert remote.client.get("/livez").status_code == 200
    assert remote.client.get("/static/nightshift.css").status_code == 200
    assert remote.deployments() == []


def test_the_printed_token_opens_once(remote: Desk) -> None:
    token = LoginToken(remote.place.data / "run").issue(business.NOW)
    assert remote.client.post("/login", data={"token": "wrong"}).status_code == 403
    assert remote.client.post("/login", data={"token": token}, follow_redirects=False).status_code == 303
    assert remote.press(f"/adapters/{remote.one.name}/promote") == 303
    assert remote.deployments()[0].actor == "operator (one-time token)"
    remote.client.cookies.clear()
    assert remote.client.post("/login", data={"token": token}).status_code == 403
    assert remote.client.get("/adapters", follow_redirects=False).status_code == 303


def test_a_login_from_another_site_is_refused(remote: Desk) -> None:
    token = LoginToken(remote.place.data / "run").issue(business.NOW)
    headers = {"origin": "http://evil.example"}
    assert remote.client.post("/login", data={"token": token}, headers=headers).status_code == 403


def test_logging_out_ends_the_session(remote: Desk) -> None:
    token = LoginToken(remote.place.data / "run").issue(business.NOW)
    remote.client.post("/login", data={"token": token})
    assert (
        remote.client.post("/logout", data={"csrf": remote.csrf()}, follow_redirects=False).status_code == 303
    )
    assert remote.client.get("/adapters", follow_redirects=False).status_code == 303


def test_a_key_needs_the_scope_operate(remote: Desk) -> None:
    keys = KeyStore(remote.place.keys_file)
    chat = keys.create("shop", frozenset({"chat"}))
    operate = keys.create("ann", frozenset({"operate"}))
    assert remote.client.get("/api/adapters", headers={"authorization": f"Bearer {chat}"}).status_code == 401
    answer = remote.client.post(
        f"/adapters/{remote.one.name}/promote",
        data={"reason": "by script", "confirm": "yes"},
        headers={"authorization": f"Bearer {operate}"},
        follow_redirects=False,
    )
    assert answer.status_code == 303
    assert "set-cookie" not in answer.headers
    assert remote.deployments()[0].actor == "operator (key ann)"
    assert remote.client.post("/login", data={"token": chat}).status_code == 403
    assert remote.client.post("/login", data={"token": operate}, follow_redirects=False).status_code == 303


def test_a_forged_or_old_cookie_is_no_session(remote: Desk) -> None:
    theirs = Signer(b"another key")
    ours = Signer(signing_key(remote.place.data / "run" / "dashboard_key"))
    old = ours.new("operator", business.NOW - SESSION_LIFE - timedelta(seconds=1))
    good = ours.seal(ours.new("operator", business.NOW))
    forged = theirs.seal(theirs.new("operator", business.NOW))
    for cookie in (forged, ours.seal(old), good[:-1], good.replace(".", "", 1), "x", ""):
        assert ours.open(cookie, business.NOW) is None, cookie
    assert ours.open(good, business.NOW) is not None


def test_of_two_logins_at_once_one_gets_in(tmp_path: Path) -> None:
    token = LoginToken(tmp_path)
    secret = token.issue(business.NOW)
    with ThreadPoolExecutor(8) as pool:
        spent = list(pool.map(lambda _: token.spend(secret, business.NOW), range(8)))
    assert spent.count(True) == 1


def test_a_token_dies_with_the_next_one_and_with_time(tmp_path: Path) -> None:
    token = LoginToken(tmp_path)
    first = token.issue(business.NOW)
    second = token.issue(business.NOW)
    assert not token.spend(first, business.NOW)
    assert not token.spend(second, business.NOW + TOKEN_LIFE + timedelta(seconds=1))
    assert second not in (tmp_path / "dashboard_token.json").read_text(), "only its hash is kept"
    assert (tmp_path / "dashboard_token.json").stat().st_mode & 0o077 == 0


def test_the_signing_key_is_kept_and_private(tmp_path: Path) -> None:
    file = tmp_path / "run" / "key"
    assert signing_key(file) == signing_key(file)
    assert len(signing_key(file)) == 32
    assert file.stat().st_mode & 0o077 == 0


def test_hosts_and_origins_are_read_strictly() -> None:
    assert host_name("[::1]:80") == "::1"
    assert host_name("[broken") == ""
    assert same_site("http://a:1", "same-origin", "a:1")
    assert not same_site("http://a:2", None, "a:1")
    assert not same_site(None, "same-site", "a:1")
    assert same_site(None, None, "a:1"), "a program, not a browser: its token still has to fit"
