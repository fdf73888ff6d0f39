"""A served model: the base or an adapter, by name, at the engine, and back after the engine restarts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from infra.engine import BASE, Answer, Engine, Sampling
from infra.errors import EngineError, NightError
from infra.events import Message
from infra.probe import Probe
from trainer.patience import patiently


class Served:
    """One model under its name. `folder` is the adapter's, None for the base model; `probe` its trainer's."""

    def __init__(self, engine: Engine, name: str, folder: Path | None, probe: Probe | None = None) -> None:
        assert (folder is None) == (name == BASE)
        self.name = name
        self._engine = engine
        self._folder = folder
        self._probe = probe

    async def chat(self, messages: Sequence[Message], sampling: Sampling, n: int = 1) -> Answer:
        """`n` completions; waits while the engine restarts, and loads the adapter again afterwards.

        Raises:
            EngineError: the engine refused, or stayed away for longer than our patience.
        """
        return await patiently(lambda: self._chat(messages, sampling, n))

    async def _chat(self, messages: Sequence[Message], sampling: Sampling, n: int) -> Answer:
        try:
            return await self._engine.chat(messages, self.name, sampling, n)
        except EngineError as err:
            if err.status != 404 or self._folder is None:
                raise
        await self._engine.load(self.name, self._folder)
        return await self._engine.chat(messages, self.name, sampling, n)

    async def probe(self, messages: Sequence[Message]) -> None:
        """Loads the adapter and checks that the engine computes it; `messages` are for one without a probe.

        Raises:
            NightError: it is a silent no-op, or something else than what was trained.
        """
        assert self._folder is not None, "the base model needs no probe"
        folder = self._folder
        await patiently(lambda: self._engine.load(self.name, folder))
        if wrong := await patiently(lambda: self._engine.wrong(self.name, self._probe, messages)):
            raise NightError(wrong)

    async def drop(self) -> None:
        """Unloads the adapter."""
        await patiently(lambda: self._engine.unload(self.name))
