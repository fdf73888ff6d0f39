"""The measurements of `make bench` at tiny sizes: real processes, whole tables. No figure is judged."""

from __future__ import annotations

import json
import os
import random
import re
from pathlib import Path

import pytest
from rich.table import Table
from safetensors.numpy import load_file

from infra.bench import adapters, append, gateway, ingest, learning, random_lora, rows, wire
from infra.bench.__main__ import main
from infra.dashboard import site
from infra.engine_process import Machine
from infra.lake import Lake

SIZES = (300, 1200)


@pytest.fixture(scope="module")
def pasts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the made-up records of one test are found by the next."""
    return tmp_path_factory.mktemp("pasts")


@pytest.fixture
def kept(pasts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_FOLDER", str(pasts))


def quiet(_: object) -> None:
    """Progress that nobody reads."""


def cells(table: Table) -> list[list[str]]:
    """The table by rows."""
    return [list(row) for row in zip(*(column.cells for column in table.columns), strict=True)]


def test_what_a_durable_append_adds_is_told_for_each_load_and_record() -> None:
    found = cells(append.run(quiet, rounds=2, one_by_one=5, seconds=0.3, rate=50))
    assert [(row[0], row[1]) for row in found[:-1]] == [
        (load, record)
        for load in ("one connection", "50 requests/s")
        for record in (append.NOTHING, append.LOCAL, append.OUTAGE)
    ]
    assert all(float(row[2]) <= float(row[3]) for row in found)
    assert all(
        re.fullmatch(r"[+-]\d+\.\d\d \([+-]\d+\.\d\d to [+-]\d+\.\d\d\)", row[4])
        for row in (*found[1:3], *found[4:6])
    )


def test_what_the_gateway_adds_is_told_beside_the_engine_and_a_bare_proxy() -> None:
    cores = os.sched_getaffinity(0)
    found = cells(gateway.run(quiet, rounds=1, seconds=1.5))
    assert [row[0] for row in found] == [gateway.DIRECT, gateway.BARE, gateway.OURS]
    assert all(float(row[1].split()[0].replace(",", "")) > 0 for row in found)
    assert found[1][2] == "1.000"
    assert all(float(row[5]) > 10 and float(row[6]) > 0 for row in found[1:])
    assert os.sched_getaffinity(0) == cores


def test_messages_are_taken_whole_from_what_has_come() -> None:
    data = bytearray()
    for byte in wire.answer(b"{}") + wire.answer(b""):
        assert wire.taken(data) in (None, wire.answer(b"{}"))
        data.append(byte)
    assert wire.taken(data) == wire.answer(b"")
    assert wire.taken(data) is None


@pytest.mark.usefixtures("kept")
def test_each_look_up_is_timed() -> None:
    found = cells(rows.run(quiet, sizes=SIZES[:1], times=1))
    assert {row[0] for row in found} == {
        "Loop", "Live", "Conversations", "Nights", "Questions", "Canary", "Dead letters", "trainer",
        "a night",
    }  # fmt: skip
    for row in found:
        assert all(float(figure) >= 0 for figure in row[2:-1]), row
        assert row[-1] in ("yes", "NO")


@pytest.mark.usefixtures("kept")
def test_no_pages_query_is_forgotten() -> None:
    sources = "".join(file.read_text() for file in site.FOLDER.glob("*.py"))
    asked = set(re.findall(r'record\.(?:query|first)\(\s*"(\w+)"', sources))
    with rows.past(SIZES[0], quiet) as settings:
        timed = {one.query for one in rows.questions(settings)}
    assert len(asked) > 10
    assert asked - timed == {"answered_before"}, "which conversations begin with"


@pytest.mark.usefixtures("kept")
def test_a_made_up_past_hangs_together() -> None:
    with rows.past(SIZES[1], quiet) as settings, Lake.open(settings) as lake:
        (totals,) = lake.query("totals")
        interactions = lake.query("every_interaction")
        newest = lake.query("recent_interactions", limit=SIZES[1], before=None)
    assert totals["interactions"] == len({row["event_id"] for row in interactions}) == SIZES[1]
    assert totals["conversations"] == len({row["conversation_id"] for row in interactions}) == 408
    assert {row["arm"] for row in interactions} == {"stable", "canary"}
    assert (
        sum(row["rating"] is not None for row in newest) == totals["thumbs_up"] + totals["thumbs_down"] > 30
    )
    assert sum(bool(row["signals"]) for row in newest) == totals["signals"] > 60
    assert (newest[0]["at"] - newest[-1]["at"]).days == 29


@pytest.mark.usefixtures("kept")
def test_collecting_into_a_long_past_is_compared_with_a_short_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest, "ROUNDS", 1)
    small, large = cells(ingest.run_late(quiet, sizes=SIZES, events=200))
    assert (small[0], small[2]) == ("300", "1.00")
    assert large[0] == "1,200"
    assert float(large[2]) > 0
    assert 0 < float(large[3]) <= float(large[4])


def test_an_unknown_measurement_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["speed"]) == 2
    assert "unknown: speed; there are ingest, append, gateway, rows, ingest-late" in capsys.readouterr().err


def test_training_speed_is_told_beside_trls_defaults() -> None:
    """The sides themselves take a minute to start: `make bench` alone runs them."""
    took = {
        name: [learning.Took(rate, 0.5) for rate in rates]
        for name, rates in zip(
            learning.SIDES,
            ((4.0, 5.0, 6.0), (1.0, 2.0, 3.0), (2.0, 3.0, 7.0), (1.0, 1.0, 1.0), (1.5, 1.5, 1.5)),
            strict=True,
        )
    }
    assert cells(learning.table(took)) == [
        ["SFT, bare loop (floor)", "5.00 (4.00 to 6.00)", "2.50", "0.500"],
        ["SFT, TRL's defaults", "2.00 (1.00 to 3.00)", "1.00", "0.500"],
        ["SFT, a night", "3.00 (2.00 to 7.00)", "1.50", "0.500"],
        ["DPO, TRL's defaults", "1.00 (1.00 to 1.00)", "1.00", "0.500"],
        ["DPO, a night", "1.50 (1.50 to 1.50)", "1.50", "0.500"],
    ]


def test_what_is_trained_on_looks_like_a_nights_rows() -> None:
    made = list(learning.rows(random.Random(1)))
    assert len(made) == learning.ROWS
    for row in made:
        answer = row["chosen"][0]["content"]
        assert answer != row["rejected"][0]["content"]
        assert f"\n- {answer}" in row["prompt"][0]["content"]
        assert row["prompt"][0]["content"].count("\n- ") == learning.FACTS
        assert row["prompt"][1]["role"] == "user"


def test_what_adapters_cost_is_told_as_ratios_within_rounds() -> None:
    """The engines themselves take minutes to start: `make bench` alone runs them."""
    own = [adapters.Rate(clock, 8.0) for clock in (50.0, 90.0, 30.0)]
    floor = [adapters.Rate(100.0, 10.0), adapters.Rate(100.0, 8.0), adapters.Rate(50.0, 16.0)]
    table = adapters.table({("q and v wrapped", "rank 16"): adapters.Rates(own, floor)})
    assert cells(table) == [
        ["q and v wrapped", "rank 16", "50", "0.600 (0.500 to 0.900)", "0.800 (0.500 to 1.000)"]
    ]


@pytest.mark.parametrize("name", list(adapters.VARIANTS))
def test_engines_are_started_as_their_names_say(name: str) -> None:
    variant, machine = adapters.VARIANTS[name], Machine(cpu=True, cores=(0, 1))
    command, variables = adapters.command(variant, machine, 8123), adapters.variables(variant, machine)
    assert ("--enable-lora" in command) == bool(variant.targets)
    assert ("--enforce-eager" in command) == (name != "compiled")
    assert bool(variables["VLLM_PLUGINS"]) == (name != "vLLM's operators")
    for asked in variant.asked:
        assert set(asked.targets) <= set(variant.targets)
        assert asked.rank <= variant.rank


def test_random_adapters_have_the_base_models_shapes(tmp_path: Path) -> None:
    model = {
        "num_hidden_layers": 2, "hidden_size": 12, "intermediate_size": 20, "head_dim": 4,
        "num_attention_heads": 3, "num_key_value_heads": 1,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(model))
    folder = random_lora.write(tmp_path / "adapter", tmp_path, 2, random_lora.ALL_LINEAR)
    tensors = load_file(folder / "adapter_model.safetensors")
    assert len(tensors) == 2 * 2 * len(random_lora.ALL_LINEAR)
    layer = "base_model.model.model.layers.1."
    assert tensors[f"{layer}self_attn.v_proj.lora_A.weight"].shape == (2, 12)
    assert tensors[f"{layer}self_attn.v_proj.lora_B.weight"].shape == (4, 2)
    assert tensors[f"{layer}mlp.down_proj.lora_A.weight"].shape == (2, 20)
    assert tensors[f"{layer}mlp.down_proj.lora_B.weight"].shape == (12, 2)
    assert all(weights.any() for weights in tensors.values())
