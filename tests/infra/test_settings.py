"""Settings: a file and variables, wrong ones refused in words. The environment is a child process's own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from infra.errors import SettingsError
from infra.sections import AgentSettings, EngineSettings, TrainerSettings
from infra.settings import Settings, child_environment, load

PROGRAM = """
from infra.errors import SettingsError
from infra.settings import load
try:
    print(load().model_dump_json())
except SettingsError as err:
    print('"' + str(err).replace('"', "'") + '"')
"""


def read(folder: Path, **variables: str) -> object:
    """What a process in `folder` with these variables reads: the settings, or the error's words."""
    repository = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=folder,
        env=child_environment(PYTHONPATH=repository, **variables),
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return json.loads(done.stdout)


def write(folder: Path, text: str) -> Path:
    file = folder / "nightshift.toml"
    file.write_text(text)
    return file


def test_works_without_a_file(tmp_path: Path) -> None:
    settings = read(tmp_path)
    assert settings == json.loads(Settings().model_dump_json())


def test_a_file_sets_values(tmp_path: Path) -> None:
    settings = load(write(tmp_path, 'data = "/srv/ns"\n[agent]\nport = 9000\n[trainer]\nqueries = 7\n'))
    assert (settings.data, settings.agent.port, settings.trainer.queries) == (Path("/srv/ns"), 9000, 7)
    assert settings.agent.host == "127.0.0.1"


def test_variables_come_before_the_file(tmp_path: Path) -> None:
    write(tmp_path, "[agent]\nport = 9000\nfacts = 3\n")
    settings = read(tmp_path, NIGHTSHIFT_AGENT__PORT="9001", NIGHTSHIFT_DATA="/srv/ns")
    assert isinstance(settings, dict)
    assert (settings["agent"]["port"], settings["agent"]["facts"], settings["data"]) == (9001, 3, "/srv/ns")


def test_a_variable_names_the_file(tmp_path: Path) -> None:
    file = tmp_path / "other.toml"
    file.write_text("[agent]\nport = 9002\n")
    settings = read(tmp_path, NIGHTSHIFT_CONFIG=str(file))
    assert isinstance(settings, dict)
    assert settings["agent"]["port"] == 9002


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("NIGHTSHIFT_AGNET__PORT", "1", "NIGHTSHIFT_AGNET__PORT"),
        ("NIGHTSHIFT_AGENT__PROT", "1", "agent.prot"),
        ("NIGHTSHIFT_AGENT__PORT", "many", "agent.port"),
        ("NIGHTSHIFT_CONFIG", "/nowhere.toml", "/nowhere.toml does not exist"),
    ],
)
def test_wrong_variables_are_refused(tmp_path: Path, name: str, value: str, words: str) -> None:
    said = read(tmp_path, **{name: value})
    assert isinstance(said, str)
    assert words in said


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("agent = [", "is not TOML"),
        ("colour = 1", "colour"),
        ("[agent]\ncolour = 1", "agent.colour"),
        ("[agent]\nport = 0", "agent.port"),
        ("[agent]\nport = 70000", "agent.port"),
        ('[engine]\ndtype = "int3"', "engine.dtype"),
        ("[canary]\nsteps = [0.0, 1.0]", "canary.steps"),
        ("[canary]\nsteps = [0.5, 0.1, 1.0]", "canary.steps"),
        ("[canary]\nsteps = [0.1, 0.5]", "canary.steps"),
        ("[agent]\nport = 8000", "same port"),
        ("[trainer]\nrank = 64", "engine.max_rank"),
        ("[trainer]\nadaptive = true", "set trainer.method to 'sft'"),
    ],
)
def test_wrong_files_are_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        load(write(tmp_path, text))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="does not exist"):
        load(tmp_path / "nightshift.toml")


def test_settings_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().agent.port = 1  # type: ignore[misc]


def test_all_state_lies_under_the_data_folder() -> None:
    settings = Settings(data=Path("/srv/ns"))
    places = [
        settings.log_dir,
        settings.adapters_dir,
        settings.nights_dir,
        settings.knowledge_dir,
        settings.keys_file,
        Path(settings.lake_catalog),
        Path(settings.lake_files),
    ]
    assert all(place.is_relative_to("/srv/ns") for place in places)
    assert len(set(places)) == len(places)


def test_the_base_model_may_lie_anywhere() -> None:
    here = Settings(models=Path("/m"), engine=EngineSettings(base="small"))
    there = Settings(models=Path("/m"), engine=EngineSettings(base="/other/model"))
    assert (here.base_model, there.base_model) == (Path("/m/small"), Path("/other/model"))


def test_the_engine_has_an_address() -> None:
    assert EngineSettings(host="127.0.0.1", port=1234).url == "http://127.0.0.1:1234"
    assert EngineSettings(host="::1", port=1234).url == "http://[::1]:1234"


def test_several_engines_have_addresses_each_once() -> None:
    first, other = "http://127.0.0.1:8000", "http://10.0.0.5:8000"
    assert EngineSettings().urls == (first,)
    assert EngineSettings(others=(other,)).urls == (first, other)
    # The same file serves the second engine's own process, which differs by its port alone.
    assert EngineSettings(host="10.0.0.5", others=(other,)).urls == (other,)
    for wrong in ("10.0.0.5:8000", "http://10.0.0.5:8000/v1", "http://me:secret@host", ""):
        with pytest.raises(ValueError, match="no engine's address"):
            EngineSettings(others=(wrong,))


def test_equal_ports_and_high_ranks_are_refused_in_code_too() -> None:
    with pytest.raises(ValueError, match="same port"):
        Settings(agent=AgentSettings(port=8000))
    with pytest.raises(ValueError, match="max_rank"):
        Settings(trainer=TrainerSettings(rank=32))


def test_a_child_gets_our_environment_and_more() -> None:
    environment = child_environment(NIGHTSHIFT_DATA="/srv/ns")
    assert environment["NIGHTSHIFT_DATA"] == "/srv/ns"
    assert environment["PATH"] == child_environment()["PATH"]
    assert "NIGHTSHIFT_DATA" not in child_environment()


@pytest.mark.parametrize(
    "catalog", ["postgres:host=db password=hush", "postgres:postgresql://me:hush@db/lake"]
)
def test_a_password_has_no_place_in_the_catalog(catalog: str, tmp_path: Path) -> None:
    said = str(read(tmp_path, NIGHTSHIFT_LAKE__CATALOG=catalog))
    assert "PGPASSWORD" in said and "hush" not in said
