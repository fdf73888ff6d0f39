"""Who gets a place, who waits for one, and who is told at once that there is none."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from agent.limits import WAITING, Gate, TooBusy


class Clock:
    """A clock that stands until it is told to go on."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def holders(gate: Gate, number: int) -> list[AsyncExitStack]:
    """So many places, taken."""
    stacks = [AsyncExitStack() for _ in range(number)]
    for stack in stacks:
        await stack.enter_async_context(gate.slot())
    return stacks


async def pass_on(gate: Gate, clock: Clock, held: list[AsyncExitStack], seconds: float, times: int) -> None:
    """One after the other leaves after so long, and somebody who waits gets the place."""
    for _ in range(times):
        taker = AsyncExitStack()
        waiting = asyncio.create_task(taker.enter_async_context(gate.slot()))
        await asyncio.sleep(0)
        clock.now += seconds
        await held.pop(0).aclose()
        await waiting
        held.append(taker)


async def refused(gate: Gate) -> bool:
    """Whether one more is refused at once, without a moment's wait."""
    waiting = asyncio.create_task(gate.slot().__aenter__())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    if waiting.done():
        return isinstance(waiting.exception(), TooBusy)
    waiting.cancel()
    return False


async def test_as_many_wait_as_fit_into_the_time_at_the_present_pace() -> None:
    clock = Clock()
    gate = Gate(4, wait_s=2.0, clock=clock)
    held = await holders(gate, 4)
    await pass_on(gate, clock, held, 0.5, times=60)  # four would wait for two seconds
    waiting = [asyncio.create_task(gate.slot().__aenter__()) for _ in range(4)]
    await asyncio.sleep(0)
    assert not any(one.done() for one in waiting)
    assert await refused(gate)
    for one in waiting:
        one.cancel()


async def test_the_pace_is_learned_anew_when_the_engine_is_quick_again() -> None:
    clock = Clock()
    gate = Gate(2, wait_s=2.0, clock=clock)
    held = await holders(gate, 2)
    await pass_on(gate, clock, held, 1.9, times=30)
    assert not await refused(gate)
    await pass_on(gate, clock, held, 0.01, times=60)
    waiting = [asyncio.create_task(gate.slot().__aenter__()) for _ in range(2 * WAITING)]
    await asyncio.sleep(0)
    assert not any(one.done() for one in waiting)
    assert await refused(gate)  # no more may wait, however quick it is
    for one in waiting:
        one.cancel()


async def test_time_in_which_places_are_free_says_nothing_about_the_pace() -> None:
    clock = Clock()
    gate = Gate(1, wait_s=2.0, clock=clock)
    for _ in range(20):
        clock.now += 3600
        async with gate.slot():
            clock.now += 0.1
    (held,) = await holders(gate, 1)
    assert not await refused(gate)
    await held.aclose()


async def test_nobody_waits_for_longer_than_the_limit() -> None:
    gate = Gate(1, wait_s=0.05)
    (held,) = await holders(gate, 1)
    with pytest.raises(TooBusy, match="try again"):
        async with gate.slot():
            pass
    await held.aclose()
    async with gate.slot():  # and nothing is lost by it
        pass
