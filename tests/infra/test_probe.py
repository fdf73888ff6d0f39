"""Probes: an adapter that the engine does not apply, or not rightly, is refused by name."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.prompt import system
from infra.engine import Engine
from infra.errors import NightError
from infra.events import Fact
from infra.probe import QUESTIONS, Probe, apart, wrong
from infra.registry import Adapter, Registry
from tests import lora_adapters, stub_answers
from tests.stub_engine import StubEngine
from trainer.served import Served

LIKELY = st.lists(st.floats(-8.0, 0.0), min_size=4, max_size=4)
NAME = "ns-20260301-0123456789ab"


def probe(adapter: list[float], base: list[float]) -> Probe:
    return Probe(prompt=(1,), continuation=(2, 3, 4, 5), adapter=tuple(adapter), base=tuple(base))


TOLD = probe([-0.1, -0.2, -0.1, -0.3], [-2.0, -0.3, -4.0, -1.0])


def test_what_the_trainer_measured_is_right() -> None:
    assert wrong(NAME, TOLD, TOLD.adapter, TOLD.base) == ""


def test_noise_is_no_fault() -> None:
    noisy = [logprob - 0.05 for logprob in TOLD.adapter]
    assert wrong(NAME, TOLD, noisy, [logprob + 0.05 for logprob in TOLD.base]) == ""


def test_a_silent_no_op_is_refused_by_name() -> None:
    told = wrong(NAME, TOLD, [logprob + 0.02 for logprob in TOLD.base], TOLD.base)
    assert NAME in told and "changes nothing" in told


def test_something_else_is_refused_with_the_distance() -> None:
    told = wrong(NAME, TOLD, [-3.0, -0.2, -0.1, -0.3], TOLD.base)
    assert NAME in told and "off by 0.86" in told and "base model is another" not in told


def test_another_base_model_is_told() -> None:
    told = wrong(NAME, TOLD, [-5.0] * 4, [-0.1] * 4)
    assert "off by" in told and "base model is another one" in told


def test_half_of_the_adapter_is_not_the_adapter() -> None:
    half = [(a + b) / 2 for a, b in zip(TOLD.adapter, TOLD.base, strict=True)]
    assert "not what was trained" in wrong(NAME, TOLD, half, TOLD.base)


@given(LIKELY, LIKELY, LIKELY)
def test_nothing_that_is_nearer_to_the_base_passes(
    adapter: list[float], base: list[float], served: list[float]
) -> None:
    told = probe(adapter, base)
    if told.tells and wrong(NAME, told, served, base) == "":
        assert apart(served, adapter) <= apart(served, base)


@given(LIKELY, LIKELY)
def test_the_base_model_never_passes_for_an_adapter_that_tells(
    adapter: list[float], base: list[float]
) -> None:
    told = probe(adapter, base)
    if told.tells:
        assert wrong(NAME, told, base, base)


@pytest.mark.parametrize(
    "change", [{"continuation": ()}, {"prompt": ()}, {"base": (-1.0,)}, {"adapter": (float("nan"),) * 4}]
)
def test_what_is_no_probe_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"probe|finite"):
        Probe.model_validate({**TOLD.model_dump(), **change})


def test_questions_are_worded_as_the_agents_are() -> None:
    asked, _ = QUESTIONS[0]
    assert asked.content == system("the hotel", [Fact(title="", text="Breakfast is served from 7 to 10.")])


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    async with StubEngine() as stub, aiohttp.ClientSession() as session:
        yield Engine(stub.url, session, timeout_s=5.0)


def registered(tmp_path: Path, stub: dict[str, object], *, probed: bool = True) -> Adapter:
    """An adapter of random weights, probed by its trainer, which an engine applies as `stub` says."""
    folder = lora_adapters.write(tmp_path / "new", 0.1)
    measured = stub_answers.probe(folder) if probed else None
    (folder / "stub.json").write_text(json.dumps(stub))
    registry = Registry(tmp_path / "adapters")
    return registry.register(folder, "night-1", datetime(2026, 3, 1, tzinfo=UTC), probe=measured)


async def said(engine: Engine, adapter: Adapter) -> str:
    """What a night is told of the adapter at this engine; empty when it is right."""
    served = Served(engine, adapter.name, adapter.folder, adapter.manifest.probe)
    try:
        await served.probe(QUESTIONS[0])
    except NightError as err:
        return str(err)
    return ""


async def test_an_applied_adapter_passes(engine: Engine, tmp_path: Path) -> None:
    adapter = registered(tmp_path, {})
    assert adapter.manifest.probe is not None and adapter.manifest.probe.tells
    assert await said(engine, adapter) == ""


async def test_an_adapter_that_the_engine_ignores_is_refused_by_name(engine: Engine, tmp_path: Path) -> None:
    adapter = registered(tmp_path, {"applied": False})
    told = await said(engine, adapter)
    assert adapter.name in told and "changes nothing" in told


async def test_an_adapter_that_is_half_applied_is_refused(engine: Engine, tmp_path: Path) -> None:
    """Its answers differ from the base model's, so that only the trainer's probabilities tell."""
    adapter = registered(tmp_path, {"applied": "half"})
    assert "not what was trained" in await said(engine, adapter)


async def test_without_a_probe_it_is_enough_to_change_something(engine: Engine, tmp_path: Path) -> None:
    assert await said(engine, registered(tmp_path, {"applied": "half"}, probed=False)) == ""


async def test_without_a_probe_a_silent_no_op_is_refused_too(engine: Engine, tmp_path: Path) -> None:
    assert "changes nothing" in await said(engine, registered(tmp_path, {"applied": False}, probed=False))
