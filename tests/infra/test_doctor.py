"""The doctor's checks: pure ones on values, the others on real folders, ports and logs."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from infra import doctor
from infra.doctor import Finding
from infra.eventlog import open_log
from infra.eventlog.local import LocalEventLog
from infra.lake import Lake
from infra.registry import Registry
from infra.sections import AgentSettings, EngineSettings, KafkaSettings, LakeSettings
from infra.settings import Settings


def named(findings: list[Finding], name: str) -> Finding:
    (found,) = [finding for finding in findings if finding.name == name]
    return found


def test_old_python() -> None:
    assert doctor.python((3, 10)).state == "fail"
    assert doctor.python((3, 11)).state == "ok"


@pytest.mark.parametrize(
    ("installed", "state"),
    [
        ({"torch": "2.13.0+cpu", "torchvision": "0.28"}, "fail"),
        ({"torch": "2.13.0+cpu", "torchcodec": "0.9"}, "fail"),
        ({"torch": "2.13.0+cpu"}, "ok"),
        ({"torch": "2.13.0", "torchvision": "0.28"}, "ok"),
    ],
)
def test_torch_companions(installed: dict[str, str], state: str) -> None:
    assert doctor.torch_companions(installed.get).state == state


def test_disk_and_memory() -> None:
    assert [doctor.disk(int(size * 1e9)).state for size in (0.5, 3, 50)] == ["fail", "warn", "ok"]
    assert [doctor.memory(int(size * 1e9)).state for size in (2, 24)] == ["warn", "ok"]


def test_lag() -> None:
    assert doctor.lag(10_000, 3).state == "warn"
    assert doctor.lag(0, 3).state == "ok"


def test_models(settings: Settings) -> None:
    assert doctor.base_model(settings).state == "fail"
    assert "make model" in doctor.base_model(settings).next_step
    assert doctor.vectors(settings).state == "warn"
    settings.base_model.mkdir(parents=True)
    (settings.base_model / "config.json").write_text("{}")
    (settings.base_model / "model.safetensors").touch()
    assert doctor.base_model(settings).state == "ok"


def test_an_open_door_without_keys_fails(settings: Settings) -> None:
    opened = settings.model_copy(update={"agent": AgentSettings(host="0.0.0.0")})
    assert named(list(doctor.doors(opened, keys=False)), "API keys").state == "fail"
    assert named(list(doctor.doors(opened, keys=True)), "API keys").state == "ok"
    assert named(list(doctor.doors(settings, keys=False)), "API keys").state == "ok"


def test_an_engine_that_others_can_reach_is_warned_of(settings: Settings) -> None:
    opened = settings.model_copy(update={"engine": EngineSettings(host="0.0.0.0")})
    assert named(list(doctor.doors(opened, keys=True)), "engine address").state == "warn"


def test_rooms_that_are_down_dead_or_kept_out_of_their_port(settings: Settings) -> None:
    run = settings.data / "run"
    run.mkdir(parents=True)
    (run / "collector.pid").write_text("1\n")
    with socket.create_server(("127.0.0.1", settings.agent.port)):
        findings = doctor.rooms(settings)
    assert named(findings, "trainer").state == "warn"
    assert named(findings, "collector").state == "fail"
    agent = named(findings, "agent")
    assert (agent.state, "held by process" in agent.message) == ("fail", True)


def test_event_log_and_lake(settings: Settings) -> None:
    assert doctor.event_log(settings).message == "nothing was written yet"
    assert doctor.lake(settings).state == "ok"
    with closing(open_log(settings)) as log:
        log.append("interactions", "k", b"v").result(10)
    assert doctor.event_log(settings).message == "1 events"
    assert doctor.lake(settings).state == "warn"  # events, and nobody has recorded them
    Lake.open(settings, writable=True).close()
    assert "1 events behind" in doctor.lake(settings).message


def test_a_log_that_cannot_be_read(settings: Settings) -> None:
    settings.log_dir.mkdir(parents=True)
    (settings.log_dir / "interactions.sqlite").write_bytes(b"no database" * 100)
    assert doctor.event_log(settings).state == "fail"


def test_a_broker_that_is_down_and_what_waits_for_it(
    settings: Settings, free_ports: Callable[[int], list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    (port,) = free_ports(1)
    far = settings.model_copy(update={"kafka": KafkaSettings(bootstrap=f"127.0.0.1:{port}")})
    down = doctor.event_log(far)
    assert (down.state, str(port) in down.message) == ("fail", True)
    assert "outbox" in down.next_step
    assert doctor.outbox(settings) == []
    with closing(LocalEventLog(far.outbox_dir)) as waiting:
        waiting.append("interactions", "k", b"v").result(10)
    assert doctor.outbox(far) == [Finding("outbox", "ok", "1 events on their way")]
    monkeypatch.setattr("infra.doctor.record._LATE_S", -1.0)
    assert doctor.outbox(far)[0].state == "warn"


def test_altered_adapters(settings: Settings, tmp_path: Path) -> None:
    assert doctor.adapters(settings) == [Finding("adapters", "ok", "0, all as they were registered")]
    source = tmp_path / "peft"
    source.mkdir()
    (source / "adapter_config.json").write_text("{}")
    (source / "adapter_model.safetensors").write_bytes(b"weights")
    made = Registry(settings.adapters_dir).register(source, "n", datetime.now(UTC))
    assert doctor.adapters(settings)[0].state == "ok"
    weights = made.folder / "adapter_model.safetensors"
    weights.chmod(0o644)
    weights.write_bytes(b"changed")
    (found,) = doctor.adapters(settings)
    assert found.state == "fail"
    assert made.name in found.next_step


def test_bad_settings_are_the_finding(tmp_path: Path) -> None:
    findings = doctor.examine(tmp_path / "missing.toml")
    assert named(findings, "settings").state == "fail"
    assert not doctor.healthy(findings)


@pytest.mark.parametrize(
    ("bootstrap", "catalog", "files", "state", "next_step"),
    [
        ("", "", "", "ok", "kafka.bootstrap"),
        ("broker:9092", "", "", "ok", "lake.catalog"),
        ("broker:9092", "postgres:host=db", "", "warn", "lake.files"),
        ("broker:9092", "postgres:host=db", "s3://bucket/lake", "ok", ""),
    ],
)
def test_it_says_how_to_grow(
    settings: Settings, bootstrap: str, catalog: str, files: str, state: str, next_step: str
) -> None:
    kafka, lake = KafkaSettings(bootstrap=bootstrap), LakeSettings(catalog=catalog, files=files)
    found = doctor.machines(settings.model_copy(update={"kafka": kafka, "lake": lake}))
    assert (found.state, next_step in found.next_step, bool(found.next_step)) == (
        state,
        True,
        bool(next_step),
    )
