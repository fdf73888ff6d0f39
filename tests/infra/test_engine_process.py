"""How the engine is started: its command, its variables, and what is refused beforehand. Starts none."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from infra import engine_process
from infra.engine_process import Machine, arguments, dtype, environment, modules
from infra.errors import ProcessError
from infra.registry import Registry
from infra.sections import EngineSettings, TrainerSettings
from infra.settings import Settings

LAPTOP = Machine(cpu=True, cores=(0, 1), features=frozenset({"avx2"}))
SERVER = Machine(cpu=False, cores=(0, 1, 2, 3))


def value(argv: list[str], name: str) -> str:
    return argv[argv.index(name) + 1]


def register(settings: Settings, folder: Path, targets: object) -> None:
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps({"target_modules": targets}))
    (folder / "adapter_model.safetensors").write_bytes(b"")
    Registry(settings.adapters_dir).register(folder, "night", datetime(2026, 1, 1, tzinfo=UTC))


def test_the_settings_reach_the_engine(settings: Settings) -> None:
    engine = EngineSettings(port=8123, max_model_len=4096, max_loras=9, max_rank=32, base="small")
    argv = arguments(settings.model_copy(update={"engine": engine}), LAPTOP)
    assert argv[:2] == ["-m", "vllm.entrypoints.openai.api_server"]
    assert value(argv, "--model") == str((settings.models / "small").absolute())
    assert value(argv, "--served-model-name") == "base"
    assert (value(argv, "--host"), value(argv, "--port")) == ("127.0.0.1", "8123")
    assert value(argv, "--max-model-len") == "4096"
    assert (value(argv, "--max-loras"), value(argv, "--max-cpu-loras")) == ("9", "9")
    assert value(argv, "--max-lora-rank") == "32"
    assert "--enable-lora" in argv


def test_customers_text_stays_out_of_the_log(settings: Settings) -> None:
    for machine in (LAPTOP, SERVER):
        argv = arguments(settings, machine)
        assert "--no-enable-log-requests" in argv
        assert not [word for word in argv if word in {"--enable-log-requests", "--enable-log-outputs"}]


def test_a_processor_needs_care_that_a_gpu_does_not(settings: Settings) -> None:
    laptop, server = arguments(settings, LAPTOP), arguments(settings, SERVER)
    assert {"--enforce-eager", "--no-enable-chunked-prefill"} <= set(laptop)
    assert int(value(laptop, "--max-num-batched-tokens")) >= settings.engine.max_model_len
    assert not {"--enforce-eager", "--no-enable-chunked-prefill"} & set(server)
    assert environment(LAPTOP)["VLLM_CPU_OMP_THREADS_BIND"] == "0,1"
    assert not [name for name in environment(SERVER) if name.startswith("VLLM_CPU")]


def test_nothing_is_fetched_or_reported() -> None:
    for machine in (LAPTOP, SERVER):
        variables = environment(machine)
        assert variables["HF_HUB_OFFLINE"] == variables["TRANSFORMERS_OFFLINE"] == "1"
        assert variables["VLLM_NO_USAGE_STATS"] == variables["DO_NOT_TRACK"] == "1"
        assert variables["VLLM_PLUGINS"] == "nightshift_lora"


def test_the_allocator_is_used_where_it_is() -> None:
    library = Path("/usr/lib/libtcmalloc_minimal.so.4")
    assert environment(Machine(cpu=True, cores=(0,), allocator=library))["LD_PRELOAD"] == str(library)
    assert "LD_PRELOAD" not in environment(LAPTOP)


@pytest.mark.parametrize(
    ("wanted", "machine", "expected"),
    [
        ("auto", Machine(cpu=True, features=frozenset({"avx2"})), "float32"),
        ("auto", Machine(cpu=True, features=frozenset({"avx512_bf16"})), "bfloat16"),
        ("auto", Machine(cpu=True, features=frozenset({"amx_bf16"})), "bfloat16"),
        ("auto", Machine(cpu=False), "auto"),
        ("float16", Machine(cpu=True, features=frozenset({"amx_bf16"})), "float16"),
    ],
)
def test_the_number_format_fits_the_processor(wanted: str, machine: Machine, expected: str) -> None:
    assert dtype(wanted, machine) == expected


def test_only_the_layers_that_adapters_have_are_wrapped(settings: Settings, tmp_path: Path) -> None:
    assert modules(settings) == {"q_proj", "v_proj"}
    register(settings, tmp_path / "a", ["q_proj", "o_proj"])
    assert modules(settings) == {"q_proj", "v_proj", "o_proj"}
    argv = arguments(settings, LAPTOP)
    place = argv.index("--lora-target-modules")
    assert argv[place + 1 : place + 4] == ["o_proj", "q_proj", "v_proj"]


def test_an_adapter_on_all_layers_wraps_all(settings: Settings, tmp_path: Path) -> None:
    register(settings, tmp_path / "a", "all-linear")
    assert modules(settings) == frozenset()
    assert "--lora-target-modules" not in arguments(settings, LAPTOP)


def test_no_targets_means_all(settings: Settings) -> None:
    trainer = TrainerSettings(targets=(), port=settings.trainer.port)
    assert "--lora-target-modules" not in arguments(settings.model_copy(update={"trainer": trainer}), LAPTOP)


def test_a_missing_base_model_is_told_before_the_start(settings: Settings) -> None:
    with pytest.raises(ProcessError, match="There is no base model in"):
        engine_process.check(settings)


def test_the_correction_is_installed(settings: Settings) -> None:
    settings.base_model.mkdir(parents=True)
    (settings.base_model / "config.json").write_text("{}")
    engine_process.check(settings)
