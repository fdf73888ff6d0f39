"""A headless Chromium for tests, driven over its DevTools protocol. Just enough to look at a page."""

from __future__ import annotations

import asyncio
import base64
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--remote-debugging-port=0", "--hide-scrollbars",
)  # fmt: skip
START_S = 30.0


class Page:
    """One tab. `complaints` collects console errors, uncaught exceptions and blocked or failed loads."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._ids = count(1)
        self.complaints: list[str] = []

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Calls a DevTools method and notes what the page complains of meanwhile."""
        wanted = next(self._ids)
        await self._socket.send_json({"id": wanted, "method": method, "params": params})
        while True:
            message = await self._socket.receive_json(timeout=START_S)
            self._note(message)
            if message.get("id") == wanted:
                assert "error" not in message, message["error"]
                return dict(message["result"])

    async def open(self, url: str, width: int, height: int = 900, *, scheme: str = "light") -> None:
        """Loads a page on a screen of that size and waits until it is complete."""
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        feature = {"name": "prefers-color-scheme", "value": scheme}
        await self.call("Emulation.setEmulatedMedia", features=[feature])
        await self.call("Page.navigate", url=url)
        async with asyncio.timeout(START_S):
            while not await self.value(f"document.readyState === 'complete' && location.href === {url!r}"):
                await asyncio.sleep(0.05)

    async def value(self, expression: str) -> Any:
        """What a JavaScript expression gives."""
        answer = await self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        return answer["result"].get("value")

    async def screenshot(self) -> bytes:
        """The whole page as a PNG."""
        answer = await self.call("Page.captureScreenshot", captureBeyondViewport=True)
        return base64.b64decode(answer["data"])

    def _note(self, message: dict[str, Any]) -> None:
        params = message.get("params", {})
        match message.get("method"):
            case "Runtime.exceptionThrown":
                self.complaints.append(str(params["exceptionDetails"]))
            case "Log.entryAdded" if params["entry"]["level"] in ("error", "warning"):
                self.complaints.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
            case "Runtime.consoleAPICalled" if params["type"] in ("error", "warning", "assert"):
                self.complaints.append(str([arg.get("value") for arg in params["args"]]))


@asynccontextmanager
async def browser(profile: Path) -> AsyncIterator[Page]:
    """Starts Chromium with a fresh profile and gives a tab."""
    assert PROGRAM
    process = await asyncio.create_subprocess_exec(
        PROGRAM, *_FLAGS, f"--user-data-dir={profile}", "about:blank", stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with aiohttp.ClientSession() as session:
            port = await _port(profile / "DevToolsActivePort")
            async with session.get(f"http://127.0.0.1:{port}/json") as answer:
                tab = next(one for one in await answer.json() if one["type"] == "page")
            async with session.ws_connect(tab["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                page = Page(socket)
                for domain in ("Page", "Runtime", "Log"):
                    await page.call(f"{domain}.enable")
                yield page
    finally:
        process.terminate()
        await asyncio.wait_for(process.wait(), START_S)


async def _port(file: Path) -> int:
    """The port that Chromium chose; it writes the file when it listens."""
    async with asyncio.timeout(START_S):
        while not (text := _text(file)):
            await asyncio.sleep(0.05)
    return int(text.split()[0])


def _text(file: Path) -> str:
    return file.read_text() if file.is_file() else ""
