"""Customers at work while something fails: what they share, whatever each test keeps of their answers."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod

from tests.agent.agents import Live


class Customers(ABC):
    """Each asks one question after the other until they leave, and finishes the one that it is at."""

    def __init__(self, live: Live, count: int) -> None:
        self._live = live
        self._leaving = False
        self._tasks = [asyncio.create_task(self._stay(number)) for number in range(count)]

    async def leave(self) -> None:
        """Returns when the last one has its answer; raises what asking raised, if it did."""
        self._leaving = True
        await asyncio.gather(*self._tasks)

    async def _stay(self, number: int) -> None:
        turn = 0
        while not self._leaving:
            await self._ask(number, turn)
            turn += 1

    @abstractmethod
    async def _ask(self, number: int, turn: int) -> None:
        """One question by customer `number`, their `turn`th, from 0."""
