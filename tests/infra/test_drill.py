"""The drill's parts that can be looked at without playing it; whole it is played by `make soak`."""

from __future__ import annotations

import io
import random
from datetime import UTC, datetime

import numpy as np
import pytest
from rich.console import Console
from safetensors.numpy import load_file

from infra.demo.customers import Told
from infra.deployment import Deployment
from infra.drill import lessons, weights
from infra.drill.__main__ import BAD, ROOMS, apart, environment
from infra.drill.caught import Caught, table
from infra.drill.weights import Change, made
from infra.events import DeploymentChanged
from infra.follow import Change as Changed
from infra.registry import Registry
from infra.settings import Settings
from tests.circle import make_adapter

FACTS = (
    "Parking is free.",
    "Pets are welcome.",
    "Breakfast is at 8.",
    "There is a pool.",
    "Smoking is banned.",
)
BEGAN = 1_800_000_000.0


def changed(action: str, at: float, adapter: str = "bad") -> Changed:
    body = DeploymentChanged.model_validate(
        {"action": action, "adapter": adapter, "actor": "drill", "reason": f"{action}, because"}
    )
    return Changed(datetime.fromtimestamp(at, UTC), body, Deployment())


def told(at: float, adapter: str = "bad") -> Told:
    return Told("r", "canary", adapter, at, 0.1, right=False)


@pytest.mark.parametrize("change", [bad.change for bad in BAD if bad.change])
def test_each_made_adapter_differs_from_its_model_and_can_be_registered(
    settings: Settings, change: Change
) -> None:
    registry = Registry(settings.adapters_dir)
    model = registry.get(make_adapter(settings, {"quality": 1.0}))
    bad = made(model, change, registry, settings.data / "bad", seed=1)
    registry.verify(bad.name)
    before, after = (load_file(a.folder / "adapter_model.safetensors") for a in (model, bad))
    assert before.keys() == after.keys()
    same_shape = {name: t.shape for name, t in before.items()} == {name: t.shape for name, t in after.items()}
    assert same_shape is (change is not weights.other_base)
    assert all(not np.array_equal(before[name], after[name]) for name in before)


def test_lessons_answer_from_the_facts_alone() -> None:
    chance = random.Random(1)
    assert lessons.first_fact(FACTS, chance) == FACTS[0]
    assert lessons.another_fact(FACTS, chance) in FACTS[1:]
    assert lessons.another_fact(FACTS[:1], chance) == FACTS[0]
    assert lessons.rambles(FACTS, chance) == " ".join(FACTS[:4])
    assert lessons.refuses(FACTS, chance) == lessons.REFUSAL
    slips = [lessons.slips(FACTS, chance) != FACTS[0] for _ in range(1000)]
    assert abs(sum(slips) / 1000 - lessons.SLIPS) < 0.05


def test_a_catch_is_timed_from_the_first_answer_to_the_verdict_and_on_to_the_last() -> None:
    history = [changed("canary", BEGAN), changed("roll_back", BEGAN + 9)]
    answers = [told(BEGAN + 2), told(BEGAN + 8), told(BEGAN + 9.25), told(BEGAN + 30, "another")]
    assert Caught.of("bad", answers, history) == Caught("bad", True, 3, "roll_back, because", 7.0, 0.25)


def test_one_that_gave_no_answer_is_timed_from_when_it_went_on_canary() -> None:
    history = [
        changed("canary", BEGAN),
        changed("roll_back", BEGAN + 9),
        changed("canary", BEGAN + 20, "next"),
    ]
    assert Caught.of("bad", [], history) == Caught("bad", True, 0, "roll_back, because", 9.0, 0.0)


def test_one_that_was_not_caught_is_told_as_such() -> None:
    missed = Caught.of("bad", [told(BEGAN)], [changed("canary", BEGAN), changed("promote", BEGAN + 5)])
    assert not missed.rolled_back
    out = io.StringIO()
    Console(file=out, width=160).print(table([("random weights", missed)]))
    assert "NO" in out.getvalue()


def test_a_drill_touches_neither_the_services_folder_nor_its_ports(settings: Settings) -> None:
    own = apart(settings)
    assert own.data == settings.data / "drill"
    assert not {getattr(own, room).port for room in ROOMS} & {getattr(settings, room).port for room in ROOMS}


def test_what_the_environment_says_of_the_service_does_not_reach_the_drill(settings: Settings) -> None:
    own = apart(settings)
    theirs = environment(
        own,
        {
            "PATH": "/bin",
            "NIGHTSHIFT_KAFKA__BOOTSTRAP": "shop:9092",
            "NIGHTSHIFT_DATA": str(settings.data),
            "NIGHTSHIFT_AGENT__PORT": str(settings.agent.port),
        },
    )
    assert theirs["PATH"] == "/bin"
    assert theirs["NIGHTSHIFT_DATA"] == str(own.data.resolve())
    assert theirs["NIGHTSHIFT_AGENT__PORT"] == str(own.agent.port)
    assert "NIGHTSHIFT_KAFKA__BOOTSTRAP" not in theirs
