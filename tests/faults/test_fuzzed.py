"""Broken messages among good ones: ingest never stops, good ones are stored, broken ones kept apart."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import closing
from typing import Any

from infra.eventlog import open_log
from infra.eventlog.base import EventLog, from_beginning
from infra.events import DEAD_LETTER_TOPIC
from infra.lake import Lake
from infra.settings import Settings
from tests.faults.flow import PATIENCE_S, collector, held, said
from tests.waiting import until

Whole = dict[str, Any]  # Any: JSON


def _body(**changed: object) -> Callable[[Whole, random.Random], bytes]:
    """Breaks a field of the body."""
    return lambda whole, _: json.dumps(whole | {"body": whole["body"] | changed}).encode()


def _envelope(**changed: object) -> Callable[[Whole, random.Random], bytes]:
    return lambda whole, _: json.dumps(whole | changed).encode()


def _noise(_: Whole, chance: random.Random) -> bytes:
    return b"\xff" + chance.randbytes(chance.randrange(2000))


def _cut(whole: Whole, chance: random.Random) -> bytes:
    text = json.dumps(whole).encode()
    return text[: chance.randrange(len(text))]


def _without(whole: Whole, chance: random.Random) -> bytes:
    body = dict(whole["body"])
    for name in ("response_id", "query", "answer", "prompt"):
        if chance.random() < 0.5:
            body.pop(name, None)
    body.pop("response_id", None)
    return json.dumps(whole | {"body": body}).encode()


def _flipped(whole: Whole, chance: random.Random) -> bytes:
    """One byte of the JSON's frame becomes another that no JSON has there."""
    text = bytearray(json.dumps(whole).encode())
    text[chance.choice([0, len(text) - 1])] = chance.randrange(128, 256)
    return bytes(text)


BREAKERS: tuple[Callable[[Whole, random.Random], bytes], ...] = (
    _noise,
    _cut,
    _without,
    _flipped,
    _body(response_id="nul \0 inside"),
    _body(response_id="lone \ud800 surrogate"),
    _body(response_id=17),
    _body(turn=2**40, rating=2**40),
    _body(prompt="no list", rating="much"),
    _envelope(id=""),
    _envelope(v=99),
    _envelope(type="gossip"),
    _envelope(at="9999999-01-01T00:00:00Z"),
    _envelope(at="0001-01-01T00:00:00+23:59"),
    _envelope(body=[1, 2]),
    lambda _, chance: b"[" * chance.randrange(1, 20_000),
    lambda _, chance: json.dumps(chance.choice([None, True, 7, "text", [], {}])).encode(),
)


def test_broken_messages_stop_nothing_and_are_kept_with_a_reason(
    settings: Settings, soak: bool, measured: Callable[[str], None]
) -> None:
    broken, good = (100_000, 1_000_000) if soak else (400, 4000)
    chance = random.Random(1)
    with closing(open_log(settings)) as log, collector(settings) as process:
        began = time.monotonic()
        _write(log, good, broken, chance)
        until(lambda: held(settings)[1:] == (good, broken), "all of them", PATIENCE_S + good / 5000)
        took = time.monotonic() - began
        assert process.poll() is None
        copies = _copies(log, broken)
    assert held(settings) == (good, good, broken)
    with Lake.open(settings) as lake:
        letters = lake.query("dead_letters", limit=broken)
        assert all(letter["reason"] for letter in letters)
        reasons = {letter["reason"].split(";")[0].split(" has ")[0][:60] for letter in letters}
    assert {(copy["topic"], copy["offset"], copy["reason"]) for copy in copies} == {
        (letter["topic"], letter["offset"], letter["reason"]) for letter in letters
    }
    measured(
        f"{broken:,} broken among {good:,} good messages in {took:.0f} s: {len(letters):,} dead letters with "
        f"{len(reasons):,} kinds of reasons, {good - held(settings).ids} good ones missing"
    )


def _write(log: EventLog, good: int, broken: int, chance: random.Random) -> None:
    """Ten good ones to a broken one, breakers in turn."""
    waiting: list[Future[Any]] = []
    for number in range(good):
        event = said(number)
        if number % (good // broken) == 0:
            breaker = BREAKERS[number // (good // broken) % len(BREAKERS)]
            whole = json.loads(said(number).encode())
            waiting.append(log.append(event.topic, event.key, breaker(whole, chance)))
        waiting.append(log.append(event.topic, event.key, event.encode()))
        if len(waiting) > 5000:
            for future in waiting:
                future.result(PATIENCE_S)
            waiting.clear()
    for future in waiting:
        future.result(PATIENCE_S)


def _copies(log: EventLog, number: int) -> list[Whole]:
    """What the topic of dead letters holds, once it holds so many."""
    with closing(log.reader([DEAD_LETTER_TOPIC], from_beginning)) as reader:
        found: list[Whole] = []
        deadline = time.monotonic() + PATIENCE_S
        while len(found) < number and time.monotonic() < deadline:
            found += [json.loads(record.value) for record in reader.poll(0.1)]
    return found
