"""The registry: content names, whole folders only, and no altered or pickled weights handed out."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from infra.errors import AdapterError, NotFound
from infra.registry import Registry

DAY = datetime(2026, 3, 1, 2, 30, tzinfo=UTC)


def peft(folder: Path, weights: bytes = b"weights") -> Path:
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text('{"r": 8}')
    (folder / "adapter_model.safetensors").write_bytes(weights)
    return folder


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "adapters")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return peft(tmp_path / "out")


def test_registers_with_lineage_and_gives_it_back(registry: Registry, source: Path) -> None:
    (source / "README.md").write_text("left behind")
    (source / "checkpoint-1").mkdir()
    adapter = registry.register(
        source, "night-1", DAY, base_model="smollm2", rows=12, parent_snapshot=7,
        seeds={"night": 1}, metrics={"pass": 0.6}, gates=[{"gate": "quality", "verdict": "pass"}],
    )  # fmt: skip
    assert adapter.name.startswith("ns-20260301-")
    assert adapter.folder.is_absolute()
    assert {file.name for file in adapter.folder.iterdir()} == {
        "adapter_config.json", "adapter_model.safetensors", "manifest.json",
    }  # fmt: skip
    assert (adapter.folder / "adapter_model.safetensors").read_bytes() == b"weights"
    again = registry.get(adapter.name)
    assert again == adapter
    assert (again.manifest.night, again.manifest.rows, again.manifest.parent_snapshot) == ("night-1", 12, 7)
    assert again.manifest.gates == [{"gate": "quality", "verdict": "pass"}]


def test_the_name_is_the_content(registry: Registry, source: Path, tmp_path: Path) -> None:
    first = registry.register(source, "night-1", DAY)
    other = registry.register(peft(tmp_path / "out2", b"other"), "night-1", DAY)
    same = registry.register(peft(tmp_path / "out3"), "night-2", datetime(2026, 4, 1, tzinfo=UTC))
    assert first.name != other.name
    # The same content keeps its first name and lineage, also on another day.
    assert same == first
    assert len(registry.list()) == 2


def test_many_register_the_same_at_once(registry: Registry, source: Path, tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        adapters = list(pool.map(lambda _: registry.register(source, "night-1", DAY), range(8)))
    assert len({adapter.name for adapter in adapters}) == 1
    assert [path.name for path in (tmp_path / "adapters").iterdir()] == [adapters[0].name]


def test_lists_newest_first_and_leaves_broken_ones_out(registry: Registry, tmp_path: Path) -> None:
    names = [
        registry.register(peft(tmp_path / f"out{day}", bytes([day])), "n", DAY.replace(day=day)).name
        for day in (2, 9, 5)
    ]
    (tmp_path / "adapters" / "ns-20260101-000000000000").mkdir()
    (tmp_path / "adapters" / ".new-abc").mkdir()
    assert [adapter.name for adapter in registry.list()] == [names[1], names[2], names[0]]


def test_an_empty_registry_has_none(registry: Registry) -> None:
    assert registry.list() == []


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_refuses_a_folder_without(registry: Registry, source: Path, tmp_path: Path, name: str) -> None:
    (source / name).unlink()
    with pytest.raises(AdapterError, match=f"no {name}"):
        registry.register(source, "night-1", DAY)
    assert not (tmp_path / "adapters").exists()


@pytest.mark.parametrize("name", ["adapter_model.bin", "optimizer.pt", "x.pth", "x.pkl"])
def test_refuses_pickled_weights(registry: Registry, source: Path, name: str) -> None:
    (source / name).write_bytes(b"code")
    with pytest.raises(AdapterError, match="safetensors only"):
        registry.register(source, "night-1", DAY)


def test_refuses_links(registry: Registry, source: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.json").write_text("{}")
    (source / "extra.json").symlink_to(tmp_path / "secret.json")
    with pytest.raises(AdapterError, match=r"extra\.json"):
        registry.register(source, "night-1", DAY)


def test_refuses_lineage_it_does_not_know(registry: Registry, source: Path) -> None:
    with pytest.raises(AdapterError, match="colour"):
        registry.register(source, "night-1", DAY, colour="red")


def test_notices_what_was_altered(registry: Registry, source: Path) -> None:
    adapter = registry.register(source, "night-1", DAY)
    registry.verify(adapter.name)
    (adapter.folder / "adapter_model.safetensors").write_bytes(b"Weights")
    for call in (registry.get, registry.verify):
        with pytest.raises(AdapterError, match=r"altered \(adapter_model\.safetensors\)"):
            call(adapter.name)


def test_notices_what_was_added(registry: Registry, source: Path) -> None:
    adapter = registry.register(source, "night-1", DAY)
    (adapter.folder / "more.safetensors").write_bytes(b"")
    with pytest.raises(AdapterError, match=r"more\.safetensors"):
        registry.get(adapter.name)
    (adapter.folder / "more.safetensors").rename(adapter.folder / "more.bin")
    with pytest.raises(AdapterError, match="safetensors only"):
        registry.get(adapter.name)


def test_notices_a_manifest_that_was_made_to_fit(registry: Registry, source: Path, tmp_path: Path) -> None:
    adapter = registry.register(source, "night-1", DAY)
    other = registry.register(peft(tmp_path / "out2", b"other"), "night-1", DAY)
    (adapter.folder / "adapter_model.safetensors").write_bytes(b"other")
    manifest = json.loads((adapter.folder / "manifest.json").read_text())
    manifest["files"] = other.manifest.files
    (adapter.folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(AdapterError, match="what its name says"):
        registry.get(adapter.name)


def test_a_manifest_that_cannot_be_read_is_an_error(registry: Registry, source: Path) -> None:
    adapter = registry.register(source, "night-1", DAY)
    (adapter.folder / "manifest.json").write_text("{")
    with pytest.raises(AdapterError, match="manifest"):
        registry.get(adapter.name)


@pytest.mark.parametrize("name", ["../out", "/etc", "a/b", "..", "", ".new-abc"])
def test_names_never_lead_out(registry: Registry, name: str) -> None:
    with pytest.raises(AdapterError, match="lead out"):
        registry.get(name)


@pytest.mark.parametrize("name", ["base", "ns-20260301-0123456789ab", "out"])
def test_unknown_names_are_not_found(registry: Registry, source: Path, name: str) -> None:
    with pytest.raises(NotFound):
        registry.get(name)


def test_a_linked_folder_is_refused(registry: Registry, source: Path, tmp_path: Path) -> None:
    adapter = registry.register(source, "night-1", DAY)
    adapter.folder.rename(tmp_path / "elsewhere")
    adapter.folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(AdapterError, match="link"):
        registry.get(adapter.name)
