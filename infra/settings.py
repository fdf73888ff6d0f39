"""Every setting, typed, frozen, read once: `nightshift.toml`, then `NIGHTSHIFT_…` variables on top.

The only file that reads the environment. Few knobs: what can be derived is a property. A nested
setting in the environment is written with two underscores: `NIGHTSHIFT_AGENT__PORT=9000`.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

from pydantic import ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from infra.errors import SettingsError
from infra.secrets import without_secrets
from infra.sections import (
    AgentSettings,
    CanarySettings,
    CollectorSettings,
    DashboardSettings,
    EngineSettings,
    KafkaSettings,
    LakeSettings,
    TrainerSettings,
)

FILE = "nightshift.toml"
PREFIX = "NIGHTSHIFT_"


class _Sources(BaseSettings):
    """How settings are read. `Settings` adds the checks that need several sections."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, toml_file=None
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)


class Settings(_Sources):
    """All settings. `data` is the one folder that holds all state."""

    # Everything that Nightshift writes lies under this folder.
    data: Path = Path("data")
    # Base models and the static vectors for retrieval; shared by several data folders.
    models: Path = Path("models")
    agent: AgentSettings = AgentSettings()
    engine: EngineSettings = EngineSettings()
    kafka: KafkaSettings = KafkaSettings()
    lake: LakeSettings = LakeSettings()
    collector: CollectorSettings = CollectorSettings()
    trainer: TrainerSettings = TrainerSettings()
    canary: CanarySettings = CanarySettings()
    dashboard: DashboardSettings = DashboardSettings()

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        ports = [s.port for s in (self.agent, self.engine, self.collector, self.trainer, self.dashboard)]
        if len(set(ports)) < len(ports):
            raise ValueError(f"two rooms have the same port ({sorted(ports)}): give each its own")
        if self.trainer.second == self.trainer.reward:
            raise ValueError(
                f"trainer.second is {self.trainer.second!r}, which chooses the answers too and so proves "
                "nothing about them: name another one, or leave it empty"
            )
        if self.trainer.adaptive and self.trainer.method != "sft":
            raise ValueError(
                f"trainer.adaptive ends groups before their worse answers, which trainer.method "
                f"{self.trainer.method!r} learns from too: switch it off, or set trainer.method to 'sft'"
            )
        if self.trainer.rank > self.engine.max_rank:
            raise ValueError(
                f"trainer.rank {self.trainer.rank} is above engine.max_rank {self.engine.max_rank}: "
                "the engine would refuse the adapter"
            )
        return self

    @property
    def log_dir(self) -> Path:
        """Where the local event log lies."""
        return self.data / "log"

    @property
    def outbox_dir(self) -> Path:
        """Where events wait for Kafka."""
        return self.data / "outbox"

    @property
    def lake_catalog(self) -> str:
        return self.lake.catalog or str(self.data / "lake" / "catalog.sqlite")

    @property
    def lake_files(self) -> str:
        return self.lake.files or str(self.data / "lake" / "files")

    @property
    def adapters_dir(self) -> Path:
        return self.data / "adapters"

    @property
    def nights_dir(self) -> Path:
        return self.data / "nights"

    @property
    def knowledge_dir(self) -> Path:
        return self.data / "knowledge"

    @property
    def keys_file(self) -> Path:
        """Hashed API keys with their scopes."""
        return self.data / "keys.json"

    @property
    def reward_dir(self) -> Path:
        """Folder of the reward as this business's customers have renewed it."""
        return self.data / "reward"

    @property
    def suites_dir(self) -> Path:
        """Folder of the suites that nights are judged by."""
        return Path(self.trainer.suites or self.data / "suites")

    @property
    def base_model(self) -> Path:
        """Folder of the base model: absolute as written, otherwise under `models`."""
        return self.models / self.engine.base

    @property
    def vectors_dir(self) -> Path:
        """Folder of the static vectors for retrieval."""
        return self.models / "minilm-static"

    @property
    def encoder_dir(self) -> Path:
        """Folder of the sentence encoder that nights judge answers with."""
        return self.models / "minilm"


def load(file: Path | None = None) -> Settings:
    """Reads the settings from `file`, or from `NIGHTSHIFT_CONFIG`, or from `nightshift.toml` if it exists.

    Raises:
        SettingsError: the file is named but missing, not TOML, or a value is wrong or unknown.
    """
    named = file or (Path(os.environ[PREFIX + "CONFIG"]) if PREFIX + "CONFIG" in os.environ else None)
    if named and not named.is_file():
        raise SettingsError(f"The settings file {named} does not exist: create it, or leave the name out.")
    path = named or Path(FILE)

    class FromFile(Settings):
        model_config = SettingsConfigDict(toml_file=path if path.is_file() else None)

    try:
        _refuse_unknown_variables()
        return FromFile()
    except tomllib.TOMLDecodeError as err:
        raise SettingsError(f"{path} is not TOML: {err}.") from err
    except ValidationError as err:
        raise SettingsError(_explain(err, path)) from err


def _refuse_unknown_variables() -> None:
    """A misspelt variable would be ignored in silence, so it is an error."""
    for name in os.environ:
        if name.startswith(PREFIX) and name != PREFIX + "CONFIG":
            first = name.removeprefix(PREFIX).split("__")[0].lower()
            if first not in Settings.model_fields:
                known = ", ".join(Settings.model_fields)
                raise SettingsError(f"The variable {name} sets nothing: {first!r} is not one of {known}.")


def _explain(err: ValidationError, path: Path) -> str:
    lines = []
    for detail in err.errors(include_url=False):
        where = ".".join(str(part) for part in detail["loc"]) or "settings"
        lines.append(
            f"{where}: {detail['msg']} (got {without_secrets(repr(detail['input']))})"
            if detail["loc"]
            else detail["msg"]
        )
    return f"{path} or a {PREFIX} variable is wrong. " + "; ".join(lines) + "."


def child_environment(**extra: str) -> dict[str, str]:
    """The environment for a process that we start: ours, with `extra` on top."""
    return {**os.environ, **extra}
