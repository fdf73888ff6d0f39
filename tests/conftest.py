"""What tests of every room share: settings in a folder of their own, on ports that are free now."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from infra.settings import (
    AgentSettings,
    CollectorSettings,
    DashboardSettings,
    EngineSettings,
    Settings,
    TrainerSettings,
)


@pytest.fixture
def free_ports() -> Callable[[int], list[int]]:
    """Gives so many different ports of loopback that nothing listens on."""

    def find(count: int) -> list[int]:
        with ExitStack() as held:
            sockets = [held.enter_context(socket.socket()) for _ in range(count)]
            for one in sockets:
                one.bind(("127.0.0.1", 0))
            return [int(one.getsockname()[1]) for one in sockets]

    return find


@pytest.fixture
def settings(tmp_path: Path, free_ports: Callable[[int], list[int]]) -> Settings:
    """Settings whose state lies under `tmp_path`; change some with `settings.model_copy(update=…)`."""
    agent, engine, collector, trainer, dashboard = free_ports(5)
    return Settings(
        data=tmp_path / "data",
        models=tmp_path / "models",
        agent=AgentSettings(port=agent),
        engine=EngineSettings(port=engine),
        collector=CollectorSettings(port=collector),
        trainer=TrainerSettings(port=trainer),
        dashboard=DashboardSettings(port=dashboard),
    )
