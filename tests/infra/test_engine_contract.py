"""What every engine must do: the same tests for the stub and, where its model is there, for vLLM."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import aiohttp
import pytest

from infra.engine import BASE, Delta, Engine, Sampling
from infra.errors import EngineError
from infra.events import Message
from tests import lora_adapters
from tests.engines import stub_process
from tests.ports import find_ports

GREEDY = Sampling(max_tokens=16)
# As many as the engine computes in one batch by default.
SLOTS = 3


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("engine")


@pytest.fixture(scope="session", params=["stub", pytest.param("vllm", marks=pytest.mark.engine)])
def url(request: pytest.FixtureRequest, folders: Path) -> Iterator[str]:
    if request.param == "vllm":
        yield request.getfixturevalue("real_engine")
    else:
        (port,) = find_ports(1)
        with stub_process(port, folders / "stub.log") as url:
            yield url


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def engine(url: str, session: aiohttp.ClientSession) -> AsyncIterator[Engine]:
    """An engine that serves no adapter, before and after."""
    engine = Engine(url, session, timeout_s=120.0)
    yield engine
    for name in await engine.models() - {BASE}:
        await engine.unload(name)


def prompt(question: str = "Can I bring my dog?", facts: int = 1) -> list[Message]:
    lines = "\n".join(["- Breakfast is from 7 to 10.", "- Dogs are welcome.", "- Parking is free."] * facts)
    system = f"You answer customers of THE BELL. Use only these facts:\n{lines}\nAnswer in one sentence."
    return [Message(role="system", content=system), Message(role="user", content=question)]


async def wait_until(condition: Callable[[], Awaitable[bool]]) -> None:
    deadline = time.monotonic() + 20
    while not await condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


class TestEngine:
    async def test_is_ready_and_serves_the_base_model_by_its_name(self, engine: Engine) -> None:
        assert await engine.ready()
        assert await engine.models() == {BASE}

    async def test_answers_with_usage(self, engine: Engine) -> None:
        answer = await engine.chat(prompt(), BASE, GREEDY)
        (choice,) = answer.choices
        assert choice.text.strip()
        assert choice.finish_reason in {"stop", "length"}
        assert 0 < choice.tokens == answer.completion_tokens <= 16
        assert answer.prompt_tokens > 20

    async def test_stops_at_the_longest_answer(self, engine: Engine) -> None:
        answer = await engine.chat(prompt(), BASE, Sampling(max_tokens=2))
        assert (answer.choices[0].finish_reason, answer.completion_tokens) == ("length", 2)

    async def test_stops_at_a_text(self, engine: Engine) -> None:
        whole = (await engine.chat(prompt(), BASE, GREEDY)).choices[0].text
        stop = whole.split()[1]
        cut = await engine.chat(prompt(), BASE, Sampling(max_tokens=16, stop=(stop,)))
        assert cut.choices[0].text.strip() == whole.partition(stop)[0].strip()
        assert cut.choices[0].finish_reason == "stop"

    async def test_several_completions_of_one_prompt(self, engine: Engine) -> None:
        sampling = Sampling(max_tokens=16, temperature=1.0, seed=3)
        answer = await engine.chat(prompt(), BASE, sampling, n=4)
        assert len(answer.choices) == 4
        assert len({choice.text for choice in answer.choices}) > 1
        assert {choice.tokens for choice in answer.choices} == {0}
        assert answer.completion_tokens > 4

    async def test_a_seed_repeats_an_answer(self, engine: Engine) -> None:
        sampling = Sampling(max_tokens=12, temperature=1.0, seed=5)
        first = await engine.chat(prompt(), BASE, sampling, n=2)
        assert await engine.chat(prompt(), BASE, sampling, n=2) == first

    async def test_many_long_seeded_requests_at_once(self, engine: Engine) -> None:
        """Together longer than one step of the engine, which must not cut a seeded prompt in pieces."""
        sampling = Sampling(max_tokens=2, temperature=0.9, seed=1)
        asked = [engine.chat(prompt(f"Question {i}", facts=8), BASE, sampling, n=4) for i in range(16)]
        answers = await asyncio.gather(*asked)
        assert [len(answer.choices) for answer in answers] == [4] * 16
        assert await engine.ready()

    async def test_a_stream_is_the_answer_in_pieces(self, engine: Engine) -> None:
        deltas = [delta async for delta in engine.stream(prompt(), BASE, GREEDY)]
        answer = await engine.chat(prompt(), BASE, GREEDY)
        assert "".join(delta.text for delta in deltas) == answer.choices[0].text
        assert len([delta for delta in deltas if delta.text]) > 1
        assert [d.finish_reason for d in deltas if d.finish_reason] == [answer.choices[0].finish_reason]
        assert (deltas[-1].prompt_tokens, deltas[-1].completion_tokens) == (
            answer.prompt_tokens,
            answer.completion_tokens,
        )
        assert not any(delta.completion_tokens for delta in deltas[:-1])

    async def test_a_stream_goes_on_where_a_first_half_ended(self, engine: Engine) -> None:
        whole = (await engine.chat(prompt(), BASE, GREEDY)).choices[0].text
        half = " ".join(whole.split()[:2])
        messages = [*prompt(), Message(role="assistant", content=half)]
        rest = [delta.text async for delta in engine.stream(messages, BASE, GREEDY, resume=True)]
        assert (half + "".join(rest)).split()[:3] == whole.split()[:3]

    async def test_closing_a_stream_ends_the_work(
        self, engine: Engine, url: str, session: aiohttp.ClientSession
    ) -> None:
        # Makes the stub as slow as a model is; vLLM knows no such path and needs no such help.
        await session.post(url + "/stub/faults", json={"model": BASE, "kind": "slow"})
        stream = engine.stream(prompt("Tell me everything."), BASE, Sampling(max_tokens=1500))
        assert isinstance(await anext(stream), Delta)
        assert await running(session, url) == 1
        await stream.aclose()
        await wait_until(lambda: all_running(session, url, 0))

    async def test_an_unknown_model_is_not_found(self, engine: Engine) -> None:
        with pytest.raises(EngineError, match="404") as caught:
            await engine.chat(prompt(), "nobody", GREEDY)
        assert caught.value.status == 404
        with pytest.raises(EngineError, match="404"):
            await anext(engine.stream(prompt(), "nobody", GREEDY))

    async def test_a_request_it_cannot_serve_is_refused(self, engine: Engine) -> None:
        with pytest.raises(EngineError, match="400") as caught:
            await engine.chat(prompt(), BASE, Sampling(max_tokens=100_000))
        assert caught.value.status == 400

    async def test_an_adapter_comes_changes_answers_and_goes(self, engine: Engine, folders: Path) -> None:
        folder = lora_adapters.write(folders / "strong", 0.3)
        await engine.load("strong", folder)
        assert await engine.models() == {BASE, "strong"}
        assert await engine.differs("strong", prompt())
        ours = await engine.logprobs(prompt(), "strong", 4)
        assert ours != await engine.logprobs(prompt(), BASE, 4)
        await engine.unload("strong")
        assert await engine.models() == {BASE}
        with pytest.raises(EngineError, match="404"):
            await engine.chat(prompt(), "strong", GREEDY)

    async def test_an_adapter_that_changes_nothing_is_noticed(self, engine: Engine, folders: Path) -> None:
        await engine.load("zero", lora_adapters.write(folders / "zero", 0.0))
        assert not await engine.differs("zero", prompt())

    async def test_an_adapter_shows_in_how_likely_given_tokens_are(
        self, engine: Engine, folders: Path
    ) -> None:
        """Ids of any tokens will do; asked twice, since a prompt that is cached must count too."""
        prompt, continuation = tuple(range(300, 340)), (500, 501, 502, 503)
        await engine.load("likely", lora_adapters.write(folders / "likely", 0.3))
        await engine.load("unlikely", lora_adapters.write(folders / "unlikely", 0.0))
        base = await engine.forced(BASE, prompt, continuation)
        assert len(base) == 4
        assert all(-50 < logprob <= 0.0 for logprob in base)
        for name in (BASE, "unlikely"):
            assert await engine.forced(name, prompt, continuation) == pytest.approx(base, abs=0.25)
        adapter = await engine.forced("likely", prompt, continuation)
        assert adapter != pytest.approx(base, abs=0.25)
        assert await engine.forced("likely", prompt, continuation) == pytest.approx(adapter, abs=0.25)
        # Each token counts in its place alone.
        assert await engine.forced(BASE, prompt, continuation[:2]) == pytest.approx(base[:2], abs=0.25)
        with pytest.raises(EngineError, match="404"):
            await engine.forced("nobody", prompt, continuation)

    async def test_base_stays_itself_beside_adapters(
        self, engine: Engine, folders: Path, url: str, session: aiohttp.ClientSession
    ) -> None:
        """With every slot taken, in one batch with requests to all of them."""
        names = [f"strong-{number}" for number in range(SLOTS)]
        for seed, name in enumerate(names):
            await engine.load(name, lora_adapters.write(folders / name, 0.3, seed))
            await engine.chat(prompt(), name, Sampling(max_tokens=1))
        alone = await engine.logprobs(prompt(), BASE, 2)
        # Makes the stub take its time, as a model does.
        for name in names:
            await session.post(url + "/stub/faults", json={"model": name, "kind": "slow"})
        long = Sampling(max_tokens=150, temperature=1.0)
        others = [asyncio.create_task(engine.chat(prompt(), name, long)) for name in names]
        await wait_until(lambda: all_running(session, url, SLOTS))
        beside = await engine.logprobs(prompt(), BASE, 2)
        assert not all(other.done() for other in others)
        await asyncio.gather(*others)
        # Another batch rounds otherwise: seen up to 0.06. Another adapter's answer is off by 1 and more.
        assert beside == pytest.approx(alone, abs=0.25)
        apart = [await engine.logprobs(prompt(), name, 2) for name in names]
        assert all(logprobs != pytest.approx(alone, abs=0.25) for logprobs in apart)

    async def test_loading_and_unloading_twice_does_nothing(self, engine: Engine, folders: Path) -> None:
        folder = lora_adapters.write(folders / "twice", 0.1)
        await asyncio.gather(engine.load("twice", folder), engine.load("twice", folder))
        await engine.load("twice", folder)
        assert await engine.models() == {BASE, "twice"}
        await engine.unload("twice")
        await engine.unload("twice")
        assert await engine.models() == {BASE}

    async def test_a_missing_folder_is_an_error(self, engine: Engine, folders: Path) -> None:
        with pytest.raises(EngineError, match="404"):
            await engine.load("gone", folders / "gone")
        assert await engine.models() == {BASE}

    async def test_a_folder_without_weights_is_an_error(self, engine: Engine, folders: Path) -> None:
        folder = lora_adapters.write(folders / "hollow", 0.1)
        (folder / "adapter_model.safetensors").unlink()
        with pytest.raises(EngineError, match="500"):
            await engine.load("hollow", folder)
        assert await engine.models() == {BASE}
        assert await engine.ready()

    async def test_the_base_models_name_is_not_free(self, engine: Engine, folders: Path) -> None:
        await engine.load(BASE, lora_adapters.write(folders / "usurper", 0.3))
        assert await engine.models() == {BASE}
        with pytest.raises(EngineError):
            await engine.differs("usurper", prompt())

    async def test_log_probabilities(self, engine: Engine) -> None:
        logprobs = await engine.logprobs(prompt(), BASE, 3)
        assert len(logprobs) == 3
        assert all(logprob <= 0.0 for logprob in logprobs)


async def running(session: aiohttp.ClientSession, url: str) -> float:
    """Requests that the engine works on now, from its metrics."""
    async with session.get(url + "/metrics") as response:
        lines = (await response.text()).splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("vllm:num_requests_running"))


async def all_running(session: aiohttp.ClientSession, url: str, count: int) -> bool:
    return await running(session, url) == count
