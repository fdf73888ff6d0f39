"""What tests of every room share: settings in a folder of their own, free ports, real servers, figures."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import hypothesis
import pytest
from xdist.remote import Producer

from infra.sections import (
    AgentSettings,
    CollectorSettings,
    DashboardSettings,
    EngineSettings,
    TrainerSettings,
)
from infra.settings import Settings
from tests import brokers, engines, postgres
from tests.groups import Groups
from tests.ports import find_ports

# Where another test and an engine take the cores, an example's time says nothing.
hypothesis.settings.register_profile("busy", deadline=None)
hypothesis.settings.load_profile("busy")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="faults by their full counts: hours (make soak)")


@pytest.hookimpl(tryfirst=True, optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Groups | None:
    """For `--dist loadgroup`, in place of pytest-xdist's own, which groups nothing (see tests/groups.py)."""
    return Groups(config, log) if config.getoption("dist") == "loadgroup" else None


@pytest.fixture
def measured(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Tells a figure that the test found: all stand together at the end of the run."""
    return partial(record_property, "measured")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The figures that tests told. They come with the reports, since nobody sees what a process of
    pytest-xdist prints."""
    ended = [one for outcome in ("passed", "failed") for one in terminalreporter.getreports(outcome)]
    calls = [report for report in ended if report.when == "call"]
    told = [
        f"{report.location[2]}: {figure}"
        for report in sorted(calls, key=lambda report: report.location[:2])
        for name, figure in report.user_properties
        if name == "measured"
    ]
    if told:
        terminalreporter.section("measured")
        for line in told:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def soak(pytestconfig: pytest.Config) -> bool:
    """Whether faults are tried by their full counts."""
    return bool(pytestconfig.getoption("--soak"))


@pytest.fixture
def free_ports() -> Callable[[int], list[int]]:
    """As `find_ports`."""
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
