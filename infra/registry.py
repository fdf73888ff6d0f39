"""The adapters' shelf: one unchangeable folder for each, named by its content, with its lineage.

Weights are copied in whole or not at all, and checked before they are handed out. Which adapter is
served is not known here: that is the fold over deployments.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from infra.errors import AdapterError, NotFound
from infra.probe import Probe

MANIFEST = "manifest.json"
REQUIRED = ("adapter_config.json", "adapter_model.safetensors")
# What PEFT writes beside them may come along; pickled weights run code when they are loaded.
_KEPT = (".json", ".safetensors")
_PICKLED = (".bin", ".pt", ".pth", ".pkl")
_NAME = re.compile(r"ns-\d{8}-[0-9a-f]{12}")

_log = logging.getLogger(__name__)


class Manifest(BaseModel):
    """Where an adapter comes from. `files` holds a SHA-256 for each file, `parent_snapshot` the
    lake's snapshot that the night read, `gates` each gate's result as the night wrote it, `probe` what an
    engine that applies the adapter must compute."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    night: str
    created: datetime
    base_model: str = ""
    base_hash: str = ""
    parent_snapshot: int = 0
    seeds: dict[str, int] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)
    rows: int = 0
    files: dict[str, str]
    metrics: dict[str, float] = Field(default_factory=dict)
    gates: list[dict[str, Any]] = Field(default_factory=list)  # free-form: each gate's own numbers
    probe: Probe | None = None  # None: of before there were any, or from elsewhere


@dataclass(frozen=True, slots=True)
class Adapter:
    """A registered adapter; `folder` is absolute and holds safetensors, config and manifest."""

    name: str
    folder: Path
    manifest: Manifest


class Registry:
    """The adapters under one folder. Several processes may read and register at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()

    def register(self, source: Path, night: str, created: datetime, **lineage: Any) -> Adapter:
        """Copies a PEFT folder in, under `ns-<day>-<content>`; the same content keeps its first name.

        `lineage` holds further fields of `Manifest`, which checks them.

        Raises:
            AdapterError: a file is missing, pickled or a link, `lineage` does not fit, or the disk refuses.
        """
        files = _hashes(_weights(source))
        content = _content(files)
        if known := sorted(self._folder.glob(f"ns-*-{content}")):
            return self.get(known[0].name)
        name = f"ns-{created:%Y%m%d}-{content}"
        try:
            manifest = Manifest(name=name, night=night, created=created, files=files, **lineage)
        except ValidationError as err:
            raise AdapterError(f"The manifest of {name} is not complete: {err}.") from err
        try:
            self._put(source, manifest)
        except OSError as err:
            raise AdapterError(f"{self._folder} did not take {name} ({err}): look at the disk.") from err
        return self.get(name)

    def get(self, name: str) -> Adapter:
        """The adapter of that name, its files checked against their hashes.

        Raises:
            NotFound: nothing is registered under the name.
            AdapterError: it was altered, holds pickled weights, or the name leads out of the registry.
        """
        adapter = self._read(name)
        self._check(adapter)
        return adapter

    def list(self) -> list[Adapter]:
        """All adapters, newest first, without reading their weights. A broken one is logged and left out."""
        found = []
        for folder in self._folder.glob("ns-*"):
            try:
                found.append(self._read(folder.name))
            except (AdapterError, NotFound) as err:
                _log.warning("left out of the list: %s", err)
        return sorted(found, key=lambda adapter: (adapter.manifest.created, adapter.name), reverse=True)

    def verify(self, name: str) -> None:
        """Raises what `get` raises when the adapter is not what was registered."""
        self._check(self._read(name))

    def _read(self, name: str) -> Adapter:
        if not _NAME.fullmatch(name):
            if name and Path(name).name == name and not name.startswith("."):
                raise NotFound(f"No adapter is called {name!r}: `nightshift adapters list` shows them all.")
            raise AdapterError(f"{name!r} is no adapter's name: it would lead out of the registry.")
        folder = self._folder / name
        if not folder.is_dir():
            raise NotFound(f"There is no adapter {name} in {self._folder}: was it registered elsewhere?")
        if folder.is_symlink():
            raise AdapterError(f"{folder} is a link that leads out of the registry: remove it.")
        try:
            manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
        except (OSError, ValidationError) as err:
            raise AdapterError(f"{folder / MANIFEST} cannot be read as a manifest: {err}.") from err
        return Adapter(name, folder, manifest)

    def _check(self, adapter: Adapter) -> None:
        files = _hashes(_weights(adapter.folder))
        claimed = adapter.manifest.files
        if files != claimed:
            changed = sorted(n for n in files.keys() | claimed.keys() if files.get(n) != claimed.get(n))
            raise AdapterError(f"{adapter.folder} was altered ({', '.join(changed)}): do not serve it.")
        if adapter.manifest.name != adapter.name or not adapter.name.endswith(_content(files)):
            raise AdapterError(f"{adapter.folder} does not hold what its name says: do not serve it.")

    def _put(self, source: Path, manifest: Manifest) -> None:
        """Writes the whole folder aside, then moves it into place in one step."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._folder, prefix=".new-") as aside:
            new = Path(aside) / manifest.name
            new.mkdir()
            for name in manifest.files:
                shutil.copyfile(source / name, new / name)
            (new / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n")
            for file in (*new.iterdir(), new):
                _sync(file)
            try:
                new.rename(self._folder / manifest.name)
            except OSError:
                # Another process registered the same content first; `get` then checks what it wrote.
                if not (self._folder / manifest.name).is_dir():
                    raise
        _sync(self._folder)


def refuse_pickled(folder: Path) -> None:
    """Raises AdapterError when a folder holds weights in a format that can run code."""
    pickled = sorted(file.name for file in folder.iterdir() if file.suffix in _PICKLED)
    if pickled:
        raise AdapterError(f"{folder} holds {', '.join(pickled)}: save adapters as safetensors only.")


def _weights(folder: Path) -> list[Path]:
    """The files of an adapter, sorted by name, without its manifest."""
    missing = [name for name in REQUIRED if not (folder / name).is_file()]
    if missing:
        raise AdapterError(f"{folder} is no adapter: it has no {' and no '.join(missing)}.")
    refuse_pickled(folder)
    files = sorted(file for file in folder.iterdir() if file.suffix in _KEPT and file.name != MANIFEST)
    links = [file.name for file in files if file.is_symlink() or not file.is_file()]
    if links:
        raise AdapterError(f"{folder} holds {', '.join(links)}, which is no plain file: copy it in.")
    return files


def _hashes(files: Iterable[Path]) -> dict[str, str]:
    """SHA-256 by file name."""
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def _content(files: dict[str, str]) -> str:
    """Twelve hexadecimal digits for names and contents together."""
    lines = "".join(f"{name} {digest}\n" for name, digest in sorted(files.items()))
    return hashlib.sha256(lines.encode()).hexdigest()[:12]


def _sync(path: Path) -> None:
    """Makes a file or a folder's entries survive a power loss."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
