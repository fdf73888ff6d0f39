"""What tests of every room share: settings in a folder of their own, free ports, and real brokers."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from infra import addresses
from infra.sections import (
    AgentSettings,
    CollectorSettings,
    DashboardSettings,
    EngineSettings,
    TrainerSettings,
)
from infra.settings import Settings
from tests import brokers, engines, postgres

find_ports = addresses.free_ports


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="faults by their full counts: hours (make soak)")


@pytest.fixture(scope="session")
def soak(pytestconfig: pytest.Config) -> bool:
    """Whether faults are tried by their full counts."""
    return bool(pytestconfig.getoption("--soak"))


@pytest.fixture
def free_ports() -> Callable[[int], list[int]]:
    """Gives so many different ports of loopback that nothing listens on."""
    return find_ports


@pytest.fixture(scope="session")
def bootstrap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], str]]:
    """The address of the broker "apache" or "tansu", started once, when the first test asks for it."""
    addresses: dict[str, str] = {}
    with ExitStack() as running:

        def address(kind: str) -> str:
            if kind == "apache" and (why := brokers.missing_apache()):
                pytest.skip(f"no Apache Kafka: {why}")
            if kind not in addresses:
                folder = tmp_path_factory.mktemp(kind)
                if kind == "tansu":
                    addresses[kind] = running.enter_context(brokers.tansu(folder, *find_ports(1))).bootstrap
                else:
                    addresses[kind] = os.environ.get("KAFKA_BOOTSTRAP") or (
                        running.enter_context(brokers.apache(folder, *find_ports(2))).bootstrap
                    )
            return addresses[kind]

        yield address


@pytest.fixture(scope="session")
def real_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The real engine's address, started when the first test asks for it. Leave no adapter behind."""
    if not (engines.BASE_MODEL / "config.json").is_file():
        pytest.skip(f"the base model is not in {engines.BASE_MODEL}: `make model` puts it there")
    (port,) = find_ports(1)
    with engines.real_process(port, tmp_path_factory.mktemp("engine") / "engine.log") as url:
        yield url


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[postgres.Server]:
    """A PostgreSQL, started when the first test asks for it."""
    if why := postgres.missing():
        pytest.skip(f"no PostgreSQL: {why}")
    with postgres.running(tmp_path_factory.mktemp("postgres") / "server", *find_ports(1)) as server:
        yield server


@pytest.fixture
def postgres_catalog(postgres_server: postgres.Server) -> str:
    """A setting for `lake.catalog`: a new, empty database."""
    return postgres_server.database(f"lake_{time.time_ns()}")


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
