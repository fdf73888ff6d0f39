"""The command line as a user meets it: real processes, exit codes, JSON, one clear sentence on failure."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from infra.cli.app import exit_code
from infra.deployment import Deployment
from infra.errors import AdapterError, EngineUnavailable, EventLogError, LakeError, SettingsError
from infra.eventlog import open_log
from infra.follow import deployment_now
from infra.keys import KeyStore
from infra.lake import Lake
from infra.registry import Adapter, Registry
from infra.settings import Settings, child_environment


class Cli:
    """Runs `nightshift` with the settings of a test."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings = settings
        self.file = folder / "nightshift.toml"
        rooms = ("agent", "engine", "collector", "trainer", "dashboard")
        ports = "".join(f"[{room}]\nport = {getattr(settings, room).port}\n" for room in rooms)
        self.file.write_text(f'data = "{settings.data}"\nmodels = "{settings.models}"\n{ports}')

    def __call__(self, *words: str, file: Path | None = None) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "infra.cli", "--config", str(file or self.file), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    def json(self, *words: str) -> Any:
        done = self(*words, "--json")
        assert done.returncode == 0, done.stderr + done.stdout
        return json.loads(done.stdout)


@pytest.fixture
def cli(settings: Settings, tmp_path: Path) -> Cli:
    return Cli(settings, tmp_path)


def adapter(settings: Settings, folder: Path, content: bytes = b"weights") -> Adapter:
    source = folder / f"peft-{content.hex()}"
    source.mkdir()
    (source / "adapter_config.json").write_text("{}")
    (source / "adapter_model.safetensors").write_bytes(content)
    return Registry(settings.adapters_dir).register(source, "20260101T0200Z", datetime.now(UTC), rows=40)


def state(settings: Settings) -> Deployment:
    with closing(open_log(settings)) as log:
        return deployment_now(log)


def test_help_comes_at_once_and_names_every_command() -> None:
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "infra.cli", "--help"], capture_output=True, text=True, check=True
    )
    assert time.monotonic() - began < 5  # 0.5 s alone; the machine may be busy
    for command in (
        "up",
        "demo",
        "doctor",
        "engine",
        "night",
        "adapters",
        "canary",
        "knowledge",
        "suite",
        "keys",
    ):
        assert command in done.stdout


def test_starting_costs_no_heavy_import() -> None:
    heavy = "('duckdb', 'torch', 'fastapi', 'vllm')"
    code = f"import sys, infra.cli.app; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "words", [["nonsense"], ["night", "show", "a", "b"], ["keys", "create"], ["up", "--nonsense"]]
)
def test_wrong_usage_exits_with_2(cli: Cli, words: list[str]) -> None:
    done = cli(*words)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_errors_are_one_sentence_and_never_a_traceback(cli: Cli, tmp_path: Path) -> None:
    missing = tmp_path / "missing.toml"
    done = cli("adapters", "list", file=missing)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert str(missing) in done.stderr
    as_json = cli("adapters", "list", "--json", file=missing)
    assert as_json.returncode == 1
    assert str(missing) in json.loads(as_json.stdout)["error"]


@pytest.mark.parametrize(
    ("err", "code"),
    [
        (LakeError("x"), 4),
        (EventLogError("x"), 4),
        (EngineUnavailable("x"), 4),
        (SettingsError("x"), 1),
        (AdapterError("x"), 1),
    ],
)
def test_a_dependency_that_is_down_has_its_own_exit_code(err: Exception, code: int) -> None:
    assert exit_code(err) == code  # type: ignore[arg-type]


def test_nights_without_a_record_exit_with_4(cli: Cli) -> None:
    done = cli("night", "list")
    assert done.returncode == 4
    assert "collector" in done.stderr


def test_nights_of_an_empty_record(cli: Cli, settings: Settings) -> None:
    Lake.open(settings, writable=True).close()
    assert cli.json("night", "list") == []
    done = cli("night", "show", "20260101T0200Z")
    assert done.returncode == 1
    assert "20260101T0200Z" in done.stderr
    assert "holds no night yet" in cli("night", "show").stderr


def test_promote_and_roll_back(cli: Cli, settings: Settings, tmp_path: Path) -> None:
    name = adapter(settings, tmp_path).name
    (listed,) = cli.json("adapters", "list")
    assert (listed["name"], listed["stage"]) == (name, "candidate")

    assert cli.json("adapters", "promote", name, "--reason", "looks good")["stable"] == name
    assert state(settings).stable == name
    assert cli.json("adapters", "show", name)["stage"] == "stable"
    assert "looks good" in cli.json("canary", "status")["last"]
    again = cli("adapters", "promote", name)
    assert again.returncode == 1
    assert "is stable" in again.stderr

    assert cli.json("adapters", "rollback")["stable"] == ""
    assert name in state(settings).denied
    denied = cli("adapters", "promote", name)
    assert denied.returncode == 1
    assert "rejected" in denied.stderr
    nothing = cli("adapters", "rollback")
    assert nothing.returncode == 1


def test_an_altered_or_unknown_adapter_is_not_promoted(cli: Cli, settings: Settings, tmp_path: Path) -> None:
    altered = adapter(settings, tmp_path)
    weights = altered.folder / "adapter_model.safetensors"
    weights.chmod(0o644)
    weights.write_bytes(b"changed")
    assert cli("adapters", "promote", altered.name).returncode == 1
    assert cli("adapters", "promote", "ns-20260101-000000000000").returncode == 1
    assert cli("adapters", "promote", "../../etc").returncode == 1
    assert state(settings).version == 0


def test_knowledge_is_added_whole_or_not_at_all(cli: Cli, settings: Settings, tmp_path: Path) -> None:
    good, bad = tmp_path / "rooms.md", tmp_path / "menu.pdf"
    good.write_text("# Rooms\n\nThere are nine.\n")
    bad.write_bytes(b"%PDF")
    done = cli("knowledge", "add", "guest-house", str(good), str(bad))
    assert done.returncode == 1
    assert ".jsonl" in done.stderr
    assert not (settings.knowledge_dir / "guest-house").exists()

    added = cli.json("knowledge", "add", "guest-house", str(good), "--name", 'A "B" GÄSTEHAUS')
    assert added["files"] == ["rooms.md"]
    folder = settings.knowledge_dir / "guest-house"
    assert (folder / "rooms.md").read_text() == good.read_text()
    assert (folder / "about.toml").read_text() == 'name = "A \\"B\\" GÄSTEHAUS"\n'
    assert sorted(file.name for file in folder.iterdir()) == ["about.toml", "rooms.md"]


def test_a_spreadsheet_becomes_what_nights_are_judged_by(
    cli: Cli, settings: Settings, tmp_path: Path
) -> None:
    sheet, faq = tmp_path / "asked.csv", tmp_path / "faq.md"
    sheet.write_text("question,answer,who\nIs there parking?,Behind the shop.,me\n")
    faq.write_text("There is parking behind the shop.\n")
    unknown = cli("suite", "add", "shop", str(sheet), "--json")
    assert unknown.returncode == 1
    assert "nightshift knowledge add shop FILE" in json.loads(unknown.stdout)["error"]
    cli.json("knowledge", "add", "shop", str(faq))
    assert "Not used: who." in cli("suite", "add", "shop", str(sheet)).stdout
    assert cli.json("suite", "show")["suites"] == [{"suite": "shop-asked", "cases": 1, "collections": 1}]
    shown = " ".join(cli("suite", "show").stdout.split())
    assert "1 questions with their right answers, and gates ask for 100" in shown
    (settings.suites_dir / "bad.jsonl").write_text("{}\n")
    assert "bad.jsonl, line 1 is not a suite case" in cli("suite", "show").stderr


@pytest.mark.parametrize("collection", ["..", "A", "a/b", ""])
def test_a_collection_is_no_path(cli: Cli, tmp_path: Path, collection: str) -> None:
    file = tmp_path / "a.md"
    file.write_text("text")
    assert cli("knowledge", "add", collection, str(file)).returncode == 1


def test_keys(cli: Cli, settings: Settings) -> None:
    made = cli.json("keys", "create", "shop", "--scope", "chat", "--scope", "feedback")
    key = KeyStore(settings.keys_file).verify(made["secret"])
    assert key is not None
    assert key.scopes == {"chat", "feedback"}
    (listed,) = cli.json("keys", "list")
    assert listed["name"] == "shop"
    assert made["secret"] not in json.dumps(listed)
    assert cli("keys", "create", "x", "--scope", "everything").returncode == 1
    assert cli("keys", "revoke", "shop").returncode == 0
    assert cli("keys", "revoke", "shop").returncode == 1


def test_doctor_of_an_empty_folder_fails_for_want_of_a_model(cli: Cli, settings: Settings) -> None:
    done = cli("doctor", "--json")
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert done.returncode == 1
    assert checks["base model"]["state"] == "fail"
    assert not settings.data.exists(), "the doctor only looks"


def test_a_room_replaces_the_command_and_reads_the_same_settings(cli: Cli) -> None:
    done = cli("engine")  # there is no model: it says so and ends with its own exit code
    assert done.returncode == 1
    assert str(cli.settings.models) in done.stderr


def test_up_says_what_is_in_the_way(cli: Cli) -> None:
    done = cli("up", "--json")
    assert done.returncode == 1
    assert "engine ended" in json.loads(done.stdout.splitlines()[-1])["error"]


def test_version(cli: Cli) -> None:
    assert cli.json("version")["version"]


def test_the_command_is_installed() -> None:
    command = Path(sys.executable).with_name("nightshift")
    done = subprocess.run([command, "version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("nightshift ")


def test_children_get_the_environment_and_more() -> None:
    assert child_environment(X="1") == {**os.environ, "X": "1"}
