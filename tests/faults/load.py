"""Steady customers for fault tests: an open loop in a process of its own, and what the record holds of it.

    python tests/faults/load.py --url http://127.0.0.1:8080 --rate 60 --file sent.jsonl

A request is sent when it is due, whatever became of those before it, and its seconds count from then: so a
service that stalls is not spared the requests that would have come meanwhile. Ends when its input closes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TextIO

import aiohttp
import uvloop

if __name__ == "__main__":  # started as a file: the folder above holds the packages
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from infra.errors import LakeError
from infra.lake import Lake
from infra.settings import Settings

# Above what a healthy agent needs many times over: a request that takes longer has failed.
_TIMEOUT_S = 30.0


class Sent(NamedTuple):
    """One request: when it was due (seconds since the epoch), the seconds from then until its answer was
    whole, the answer's id, and what went wrong, if anything did."""

    due: float
    seconds: float
    id: str
    error: str


class Load:
    """A running load, and everything that it has heard so far."""

    def __init__(self, process: subprocess.Popen[bytes], file: Path) -> None:
        self.process = process
        self._file = file

    def sent(self) -> list[Sent]:
        """The requests that are over, in the order of their ends."""
        if not self._file.exists():
            return []
        whole, _, _ = self._file.read_text().rpartition("\n")
        return [Sent(*json.loads(line)) for line in whole.splitlines()]

    def stop(self) -> None:
        """Sends no more, and returns when the last request is over."""
        assert self.process.stdin
        self.process.stdin.close()
        assert self.process.wait(_TIMEOUT_S + 10) == 0, "the load failed: see its traceback"


@contextmanager
def steady(url: str, rate: float, file: Path) -> Iterator[Load]:
    """So many requests a second to the chat endpoint at `url`, until `stop`, or the end at the latest."""
    arguments = ["--url", url, "--rate", str(rate), "--file", str(file)]
    with subprocess.Popen([sys.executable, __file__, *arguments], stdin=subprocess.PIPE) as process:
        try:
            yield Load(process, file)
        finally:
            process.kill()


class Recorded(NamedTuple):
    """The answers in the record: their ids, and how many rows hold them."""

    ids: frozenset[str]
    rows: int


def recorded(settings: Settings) -> Recorded:
    """What the record holds now; nothing while there is none."""
    try:
        with Lake.open(settings) as lake:
            ids = frozenset(row["response_id"] for row in lake.query("response_ids"))
            return Recorded(ids, int(lake.query("totals")[0]["interactions"]))
    except LakeError:
        return Recorded(frozenset(), 0)


def until_recorded(settings: Settings, ids: Iterable[str], patience_s: float = 60.0) -> Recorded:
    """Waits until the record holds all of these answers, or fails."""
    wanted, deadline = frozenset(ids), time.monotonic() + patience_s
    while not wanted <= (now := recorded(settings)).ids:
        missing = f"{len(wanted - now.ids)} of {len(wanted)} answers are not recorded"
        assert time.monotonic() < deadline, missing
        time.sleep(0.5)
    return now


def quantile(sent: Sequence[Sent], share: float) -> float:
    """The seconds that this share of the requests stayed within."""
    ordered = sorted(one.seconds for one in sent)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


async def _send(http: aiohttp.ClientSession, url: str, number: int, due: float, out: TextIO) -> None:
    body = {
        "messages": [{"role": "user", "content": f"Is parking free for car {number}?"}],
        "metadata": {"collection": "inn"},
    }
    answer, error = "", ""
    try:
        async with http.post(f"{url}/v1/chat/completions", json=body) as response:
            text = await response.text()
            if response.status == 200:
                answer = json.loads(text)["id"]
            else:
                error = f"{response.status} {text[:200]}"
    except (aiohttp.ClientError, TimeoutError) as err:
        error = f"{type(err).__name__}: {err}"
    out.write(json.dumps(Sent(due, time.time() - due, answer, error)) + "\n")


async def _run(url: str, rate: float, file: Path) -> None:
    loop = asyncio.get_running_loop()
    ended = loop.run_in_executor(None, sys.stdin.buffer.read)
    # Without a bound on connections: a wait for one would hide the service's own.
    connector, timeout = aiohttp.TCPConnector(limit=0), aiohttp.ClientTimeout(_TIMEOUT_S)
    with file.open("w", buffering=1) as out:
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout) as http,
            asyncio.TaskGroup() as tasks,
        ):
            begun, number = time.time(), 0
            while not ended.done():
                due = begun + number / rate
                await asyncio.sleep(due - time.time())
                tasks.create_task(_send(http, url, number, due, out))
                number += 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A steady load on a chat endpoint, until the input closes.")
    parser.add_argument("--url", required=True)
    parser.add_argument("--rate", type=float, required=True, help="requests a second")
    parser.add_argument("--file", type=Path, required=True, help="a line of JSON for each request")
    chosen = parser.parse_args()
    uvloop.run(_run(chosen.url, chosen.rate, chosen.file))
