"""The engine's client when things go wrong, and how answers are read. The stub makes the faults."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra import engine_answers as answers
from infra.engine import BASE, Delta, Engine, Sampling
from infra.errors import AdapterError, EngineError, EngineUnavailable
from infra.events import Message
from tests import lora_adapters
from tests.stub_engine import StubEngine

SAMPLING = Sampling(max_tokens=40)
SECRET = "my cat is called Mitzi"


def prompt(question: str = SECRET) -> list[Message]:
    facts = "\n- ".join(f"The number {number} is in this fact." for number in range(6))
    system = f"You answer customers of X. Use only these facts:\n- {facts}\nAnswer in one sentence."
    return [Message(role="system", content=system), Message(role="user", content=question)]


@pytest.fixture
async def stub() -> AsyncIterator[StubEngine]:
    async with StubEngine() as stub:
        yield stub


@pytest.fixture
async def engine(stub: StubEngine) -> AsyncIterator[Engine]:
    async with aiohttp.ClientSession() as session:
        yield Engine(stub.url + "/", session, timeout_s=0.3)


async def whole(engine: Engine) -> list[Delta]:
    return [delta async for delta in engine.stream(prompt(), BASE, SAMPLING)]


class TestFaults:
    async def test_an_error_has_its_status(self, stub: StubEngine, engine: Engine) -> None:
        stub.fault(BASE, "error", times=2)
        for call in (engine.chat(prompt(), BASE, SAMPLING), whole(engine)):
            with pytest.raises(EngineError, match="asked for") as caught:
                await call
            assert caught.value.status == 500
            assert not isinstance(caught.value, EngineUnavailable)
        assert (await engine.chat(prompt(), BASE, SAMPLING)).choices

    async def test_a_hanging_engine_is_given_up(self, stub: StubEngine, engine: Engine) -> None:
        stub.fault(BASE, "hang", times=2)
        for call in (engine.chat(prompt(), BASE, SAMPLING), whole(engine)):
            with pytest.raises(EngineUnavailable, match="Timeout"):
                await call

    async def test_a_stream_that_breaks_keeps_what_came(self, stub: StubEngine, engine: Engine) -> None:
        stub.fault(BASE, "break_stream")
        came: list[Delta] = []
        with pytest.raises(EngineUnavailable):
            async for delta in engine.stream(prompt(), BASE, SAMPLING):
                came.append(delta)  # noqa: PERF401  # what came before the break is the point
        assert len(came) == 2

    async def test_an_answer_that_breaks(self, stub: StubEngine, engine: Engine) -> None:
        stub.fault(BASE, "break_stream")
        with pytest.raises(EngineUnavailable):
            await engine.chat(prompt(), BASE, SAMPLING)

    async def test_a_slow_stream_is_no_failure(self, stub: StubEngine, engine: Engine) -> None:
        """The limit of 0.3 s is for each token; the whole takes longer."""
        stub.fault(BASE, "slow")
        assert len(await whole(engine)) > 4

    async def test_what_is_no_json_is_an_error(self, stub: StubEngine, engine: Engine) -> None:
        stub.fault(BASE, "malformed")
        with pytest.raises(EngineError, match="cannot be read"):
            await engine.chat(prompt(), BASE, SAMPLING)

    async def test_a_stream_without_its_end_is_an_error(self, stub: StubEngine, engine: Engine) -> None:
        stub.fault(BASE, "malformed")
        with pytest.raises(EngineUnavailable, match="before its end"):
            await whole(engine)

    async def test_nobody_listens(self, free_ports: Any) -> None:
        async with aiohttp.ClientSession() as session:
            engine = Engine(f"http://127.0.0.1:{free_ports(1)[0]}", session)
            assert not await engine.ready()
            with pytest.raises(EngineUnavailable, match="nightshift doctor"):
                await engine.models()
            with pytest.raises(EngineUnavailable):
                await whole(engine)

    @pytest.mark.parametrize("kind", ["error", "hang", "break_stream", "malformed"])
    async def test_errors_quote_no_customer(self, stub: StubEngine, engine: Engine, kind: str) -> None:
        stub.fault(BASE, kind, times=2)
        for call in (engine.chat(prompt(), BASE, SAMPLING), whole(engine)):
            with pytest.raises(EngineError) as caught:
                await call
            assert SECRET not in f"{caught.value} {caught.value.__cause__}"

    async def test_leaving_a_stream_cancels_it(self, stub: StubEngine, engine: Engine) -> None:
        stub.fault(BASE, "slow")
        stream = engine.stream(prompt(), BASE, SAMPLING)
        await anext(stream)
        await stream.aclose()
        async with asyncio.timeout(5):
            while not stub.stats["cancelled"]:
                await asyncio.sleep(0.01)


class TestAdapters:
    @pytest.mark.parametrize("folder", ["adapters/a", "hub-owner/hub-model", "/data/../etc"])
    async def test_paths_that_lead_elsewhere_are_refused(self, engine: Engine, folder: str) -> None:
        with pytest.raises(AdapterError, match="absolute"):
            await engine.load("a", Path(folder))

    @pytest.mark.parametrize("name", ["adapter_model.bin", "state.pt"])
    async def test_pickled_weights_are_refused(self, engine: Engine, tmp_path: Path, name: str) -> None:
        folder = lora_adapters.write(tmp_path / "a", 0.1)
        (folder / name).write_bytes(b"")
        with pytest.raises(AdapterError, match="safetensors only"):
            await engine.load("a", folder)
        assert await engine.models() == {BASE}

    async def test_an_adapters_quality_shows(self, engine: Engine, tmp_path: Path) -> None:
        """The stub's promise to other tests: better adapters answer better, the base model half right."""
        for name, quality in (("good", 0.9), ("bad", 0.1)):
            folder = lora_adapters.write(tmp_path / name, 0.1)
            (folder / "stub.json").write_text(json.dumps({"quality": quality}))
            await engine.load(name, folder)
        rates = {}
        for name in ("good", BASE, "bad"):
            right = [await self.is_right(engine, name, i) for i in range(6)]
            rates[name] = sum(right) / len(right)
        assert rates["good"] > rates["bad"]
        assert rates["good"] >= rates[BASE] >= rates["bad"]

    @staticmethod
    async def is_right(engine: Engine, model: str, number: int) -> bool:
        answer = await engine.chat(prompt(f"number {number}?"), model, SAMPLING)
        return f"number {number}" in answer.choices[0].text

    async def test_an_adapters_own_fault_shows(
        self, stub: StubEngine, engine: Engine, tmp_path: Path
    ) -> None:
        folder = lora_adapters.write(tmp_path / "broken", 0.1)
        (folder / "stub.json").write_text(json.dumps({"fault": "error"}))
        await engine.load("broken", folder)
        with pytest.raises(EngineError, match="500"):
            await engine.chat(prompt(), "broken", SAMPLING)
        assert (await engine.chat(prompt(), BASE, SAMPLING)).choices


def completion(*texts: str, **more: Any) -> bytes:
    choices = [{"index": i, "message": {"content": text}} for i, text in enumerate(texts)]
    return json.dumps({"choices": choices, **more}).encode()


def token(text: str, *likely: tuple[str, float]) -> answers.Token:
    tops = [{"token": name, "logprob": logprob} for name, logprob in likely]
    return answers.Token.model_validate({**tops[0], "token": text, "top_logprobs": tops})


class TestAnswers:
    def test_choices_come_in_their_order(self) -> None:
        body = json.loads(completion("a", "b", "c"))
        body["choices"].reverse()
        answer = answers.answer(json.dumps(body).encode(), 3)
        assert [choice.text for choice in answer.choices] == ["a", "b", "c"]

    def test_missing_parts_are_empty(self) -> None:
        data = b'{"choices": [{"message": {"content": null}, "finish_reason": null}], "usage": null}'
        answer = answers.answer(data, 1)
        assert answer == answers.Answer((answers.Choice("", "", 0),), 0, 0)

    def test_another_number_of_choices_is_an_error(self) -> None:
        with pytest.raises(EngineError, match="2 choices where 3"):
            answers.answer(completion("a", "b"), 3)

    def test_an_error_within_a_stream_is_told(self) -> None:
        with pytest.raises(EngineError, match="out of memory") as caught:
            list(answers.deltas(b'{"error": {"message": "out of memory", "code": 500}}'))
        assert caught.value.status == 500

    def test_usage_along_the_way_is_not_the_end(self) -> None:
        data = b'{"choices": [{"delta": {"content": "a"}}], "usage": {"completion_tokens": 1}}'
        assert list(answers.deltas(data)) == [Delta("a")]

    def test_no_log_probabilities_is_an_error(self) -> None:
        with pytest.raises(EngineError, match="log-probabilities"):
            answers.tokens(completion("a"))

    @pytest.mark.parametrize("data", [b"", b"<html>", b"[]", b'{"choices": 3}', b'{"data": 1}'])
    def test_anything_else_is_told(self, data: bytes) -> None:
        with pytest.raises(EngineError):
            answers.answer(data, 1)
        with pytest.raises(EngineError):
            answers.models(data)

    @given(st.binary(max_size=100), st.integers(400, 599))
    def test_a_refusal_is_read_from_anything(self, data: bytes, status: int) -> None:
        assert answers.refusal(status, data).status == status

    def test_distance_is_nothing_between_equals(self) -> None:
        run = [token("a", ("a", -0.1), ("b", -2.5)), token("b", ("b", -0.5))]
        assert answers.distance(run, run) == 0.0

    def test_distance_counts_up_to_the_parting(self) -> None:
        same = token("a", ("a", -0.1), ("b", -2.5))
        left, right = token("a", ("a", -0.69), ("b", -0.70)), token("b", ("b", -0.69), ("a", -0.70))
        # A near tie that falls the other way is noise, and what follows has another context.
        far = [token("x", ("x", -0.01)), token("y", ("y", -0.01))]
        assert answers.distance([same, left, far[0]], [same, right, far[1]]) < 0.02
        assert answers.distance([far[0]], [far[1]]) > 0.9
