"""Every page in a real browser: no complaint on the console, and no sideways scrolling on a phone."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn

from infra.dashboard.app import create_app
from infra.dashboard.site import NAV
from infra.eventlog import open_log
from infra.events import DeploymentChanged
from infra.registry import Registry
from infra.settings import Settings
from tests.infra import browser
from tests.infra import dashboard_business as business

PATHS = [
    *(path for path, _ in NAV),
    "/conversations/conv-0",
    f"/nights/{business.NIGHT}",
    "/questions?text=dogs",
    "/questions?suite=held-out&case=case-0",
    "/nowhere",
]


@contextmanager
def serving(place: Settings) -> Iterator[str]:
    """The dashboard on a real port; gives its address."""
    log = open_log(place)
    config = uvicorn.Config(create_app(place, log, lambda: business.NOW), port=0, log_config=None, ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until = time.monotonic() + 20
        while not server.started and time.monotonic() < until:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        log.close()


def open_shop(folder: Path) -> Settings:
    """A business with a past and a running canary."""
    place = business.settings(folder / "data")
    registry = Registry(place.adapters_dir)
    stable, canary = (business.adapter(registry, folder, seed).name for seed in (1, 2))
    business.fill(place, stable, canary)
    log = open_log(place)
    business.deploy(
        log,
        DeploymentChanged(action="promote", adapter=stable, actor="trainer", evidence=business.EVIDENCE),
        DeploymentChanged(action="canary", adapter=canary, share=0.5, actor="trainer", reason="gates passed"),
    )
    log.close()
    return place


@pytest.mark.skipif(browser.PROGRAM is None, reason="no Chromium on this machine: pages are not looked at")
async def test_every_page_is_quiet_and_fits_a_phone(tmp_path: Path) -> None:
    with serving(open_shop(tmp_path)) as url:
        async with browser.browser(tmp_path / "profile") as page:
            for path in PATHS:
                for width in (390, 1280):
                    await page.open(url + path, width)
                    wide = await page.value("document.documentElement.scrollWidth")
                    assert wide <= width, f"{path} scrolls sideways: {wide} px on {width}"
                expected = ["404"] if path == "/nowhere" else []
                complaints = [text for text in page.complaints if not any(code in text for code in expected)]
                assert complaints == [], path
                page.complaints.clear()
            await _live_draws_and_refreshes(page, url)


async def _live_draws_and_refreshes(page: browser.Page, url: str) -> None:
    """The charts have ink on them, and the panel is fetched anew by itself."""
    await page.open(f"{url}/live?minutes=60", 1280)
    swapped = (
        "new Promise(done => document.addEventListener('htmx:after:swap', () => done(true), {once: true}))"
    )
    assert await page.value(swapped) is True
    assert page.complaints == []
    inked = """[...document.querySelectorAll('.chart canvas')].filter(c =>
        c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some(v => v)).length"""
    assert await page.value(inked) == 3
