"""The circle with Kafka between its rooms: the broker dies while customers ask, and nobody notices."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from infra.sections import KafkaSettings
from infra.settings import Settings
from tests import brokers
from tests.circle import Circle, running
from tests.ports import find_ports
from tests.stub_engine import StubEngine
from tests.test_circle import parts, settings_for, stub_finetune
from tests.waiting import soon
from trainer.gates import Verdict


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[brokers.Broker]:
    if why := brokers.missing_apache():
        pytest.skip(f"no Apache Kafka: {why}")
    with brokers.apache(tmp_path / "kafka", *find_ports(2)) as one:
        yield one


@pytest.fixture
async def circle(settings: Settings, broker: brokers.Broker) -> AsyncIterator[Circle]:
    kafka = KafkaSettings(bootstrap=broker.bootstrap, partitions=3)
    async with StubEngine() as stub:
        wanted = settings_for(settings, stub).model_copy(update={"kafka": kafka})
        async with running(wanted, parts()) as wired:
            yield wired


async def test_a_whole_circle_over_a_broker_that_is_killed(circle: Circle, broker: brokers.Broker) -> None:
    told = circle.customers.ledger.told
    await circle.ask(40)
    await circle.all_recorded()
    broker.kill()
    await circle.ask(110)
    assert circle.customers.ledger.errors == []
    assert len({one.response_id for one in told} - circle.recorded()) > 0
    await asyncio.to_thread(broker.start)
    await circle.all_recorded()

    result = await circle.night("20261124T0200Z", stub_finetune(0.97))
    assert result.verdict is Verdict.PASS
    watch = circle.watch()
    looked_at = 0.0

    def over() -> bool:
        nonlocal looked_at
        if time.monotonic() - looked_at < 1.0:
            return False
        looked_at = time.monotonic()
        return watch.look() is None

    await circle.ask(300, "live", enough=over)
    await soon(over)
    watch.close()
    state = circle.state()
    assert (state.stable, state.canary) == (result.adapter, "")
    await circle.all_recorded()
    assert circle.customers.ledger.errors == []
    assert {one.arm for one in told} == {"stable", "canary"}
    assert sorted(row["response_id"] for row in circle.query("response_ids")) == sorted(
        one.response_id for one in told
    )
