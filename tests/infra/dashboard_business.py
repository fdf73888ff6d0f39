"""A small business with a past: a lake, a deployments topic and a registry for the dashboard's tests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from infra.eventlog.base import EventLog, Partition
from infra.events import DeploymentChanged, Event
from infra.lake import Lake
from infra.registry import Adapter, Registry
from infra.sections import (
    AgentSettings,
    CollectorSettings,
    DashboardSettings,
    EngineSettings,
    TrainerSettings,
)
from infra.settings import Settings
from tests.ports import find_ports

NOW = datetime(2026, 3, 4, 9, 30, tzinfo=UTC)
HOSTILE = "<script>alert('x')</script>"
NIGHT = "2026-03-03"
Rows = dict[str, list[dict[str, object]]]

MANIFEST: dict[str, Any] = {
    "seed": 1,
    "snapshot": 41,
    "versions": {"trl": "1.16.0", "peft": "0.21.2"},
    "base_hash": "ab" * 32,
    "queries": 400,
    "completions": 3200,
    "chosen": 158,
    "tokens": {"resample": 61_234, "evaluate stable": 3400, "evaluate candidate": 2280},
    "training": {"tokens": 53_000, "loss": 0.31},
    "stages": {"choose": 0.4, "resample": 673.2, "score": 4.1, "finetune": 205.0, "evaluate": 121.7},
    "gates": [
        {
            "name": "pass rate",
            "claim": "the candidate answers more held-out questions right",
            "margin": 0.0,
            "n": 240,
            "estimate": 0.171,
            "low": 0.102,
            "high": 0.238,
            "verdict": "pass",
            "detail": "paired",
        },
        {
            "name": "length",
            "claim": "answers do not grow",
            "margin": 0.2,
            "n": 240,
            "verdict": "not enough data",
        },
    ],
    "verdict": "pass",
    "reward": {"stable": 0.51, "candidate": 0.74, "all_samples": 0.44, "chosen": 0.91},
    "pass_rate": {
        "stable": {"rate": 0.5, "low": 0.44, "high": 0.56, "n": 240},
        "candidate": {"rate": 0.671, "low": 0.61, "high": 0.73, "n": 240},
    },
    "by_polarity": {
        "stable": {"affirmed": 0.41, "negated": 0.63},
        "candidate": {"affirmed": 0.6, "negated": 0.78},
    },
    "copies": {"stable": 0.02, "candidate": 0.09},
    "words": {"stable": 14.3, "candidate": 9.5},
}
EVIDENCE: dict[str, Any] = {
    "metrics": [
        {
            "name": "good rate",
            "stable": 0.81,
            "canary": 0.83,
            "low": -0.04,
            "high": 0.08,
            "n_stable": 140,
            "n_canary": 138,
            "margin": -0.05,
            "verdict": "pass",
        },
        {"name": "errors", "stable": 0.0, "canary": 0.007, "verdict": "inconclusive"},
    ],
    "verdict": "pass",
    "looked_at": (NOW - timedelta(minutes=50)).isoformat(),
}


def settings(folder: Path, host: str = "127.0.0.1") -> Settings:
    """Of a place whose other rooms are away, whatever else runs on this machine."""
    agent, engine, collector, trainer = find_ports(4)
    return Settings(
        data=folder,
        agent=AgentSettings(port=agent),
        engine=EngineSettings(port=engine),
        collector=CollectorSettings(port=collector),
        trainer=TrainerSettings(port=trainer),
        dashboard=DashboardSettings(host=host),
    )


def adapter(registry: Registry, folder: Path, seed: int) -> Adapter:
    """A registered adapter of made-up weights."""
    source = folder / f"source-{seed}"
    source.mkdir(parents=True)
    (source / "adapter_config.json").write_text(json.dumps({"r": 16, "peft_type": "LORA"}))
    (source / "adapter_model.safetensors").write_bytes(bytes([seed]) * 64)
    lineage: dict[str, Any] = {
        "base_model": "smollm2-135m",
        "base_hash": "ab" * 32,
        "parent_snapshot": 40 + seed,
        "rows": 150 + seed,
        "metrics": {"pass_rate": 0.67},
        "gates": MANIFEST["gates"],
    }
    return registry.register(source, NIGHT, NOW - timedelta(days=5 - seed), **lineage)


def deploy(log: EventLog, *changes: DeploymentChanged, at: datetime = NOW) -> None:
    for number, change in enumerate(changes):
        event = Event.of(change, "deployments", at=at - timedelta(minutes=60 - 10 * number))
        log.append(event.topic, event.key, event.encode()).result(10)


def fill(place: Settings, stable: str, canary: str) -> None:
    """A few hundred rows, as the collector would append them."""
    offsets = {Partition("interactions"): 320, Partition("nights"): 40}
    with Lake.open(place, writable=True) as lake:
        lake.append(_conversations(stable, canary) | _nights(stable) | _dead_letters(), offsets)


def _row(id: str, at: datetime, topic: str, **values: object) -> dict[str, object]:
    place = {"log_topic": topic, "log_partition": 0, "log_offset": int(id.rsplit("-", 1)[-1])}
    return {"event_id": id, "at": at, **place, "extra": "{}", **values}


def _conversations(stable: str, canary: str) -> Rows:
    rows: Rows = {"interactions": [], "feedback": [], "signals": []}
    for number in range(320):
        at = NOW - timedelta(seconds=10 * (320 - number))
        on_canary = number % 3 == 0 and number > 120
        response = f"resp-{number}"
        rows["interactions"].append(
            _row(
                f"int-{number}",
                at,
                "interactions",
                response_id=response,
                conversation_id=f"conv-{number // 2}",
                turn=number % 2,
                user_id="guest",
                collection="a-and-b",
                query=_query(number),
                prompt="[]",
                facts=_facts(),
                answer=_answer(number),
                arm="canary" if on_canary else "stable",
                adapter=canary if on_canary else stable,
                canary=canary if number > 120 else "",
                fallback_from=canary if number == 200 else "",
                status="error" if number == 150 else "ok",
                error="the engine broke off" if number == 150 else "",
                finish_reason="stop",
                prompt_tokens=180,
                completion_tokens=14,
                first_token_s=0.21,
                latency_s=0.7 + number % 7 / 10,
                streamed=True,
                redactions='{"email": 1}' if number == 0 else "{}",
            )
        )
        if number % 4 == 0:
            rating = -1 if number % 20 == 0 else 1
            comment = f"Thanks {HOSTILE}" if number == 0 else ""
            thumb = {
                "response_id": response,
                "rating": rating,
                "comment": comment,
                "correction": "",
                "user_id": "",
            }
            rows["feedback"].append(_row(f"fb-{number}", at + timedelta(seconds=3), "feedback", **thumb))
    sign = {"conversation_id": "conv-0", "response_id": "resp-0", "kind": "rephrased", "value": 1.0}
    signal = _row("sig-0", NOW, "interactions", **sign)
    rows["signals"].append({name: value for name, value in signal.items() if name != "extra"})
    return rows


def _query(number: int) -> str:
    return f"Is breakfast included? {HOSTILE}" if number == 0 else f"Do you have parking for {number} cars?"


def _answer(number: int) -> str:
    return (
        f"Yes, breakfast is included {HOSTILE}." if number == 0 else "There is free parking behind the house."
    )


def _facts() -> str:
    return json.dumps([{"title": "Breakfast", "text": "Breakfast is included in every room.", "score": 3.4}])


def _nights(stable: str) -> Rows:
    start = NOW - timedelta(hours=7)
    rows = [_night("night-1", NIGHT, start, state="started", slot="2026-03-03T02:00")]
    for number, (stage, seconds) in enumerate(MANIFEST["stages"].items(), start=2):
        rows.append(_night(f"night-{number}", NIGHT, start, state="stage", stage=stage, seconds=seconds))
    ended = {"state": "ended", "verdict": "pass", "adapter": stable, "manifest": json.dumps(MANIFEST)}
    rows.append(_night("night-20", NIGHT, start + timedelta(minutes=17), seconds=1004.4, **ended))
    rows.append(_night("night-30", "2026-03-02", start - timedelta(days=1), state="started"))
    poor = {"state": "ended", "verdict": "not enough data", "reason": "12 chosen rows, 40 are needed."}
    rows.append(_night("night-31", "2026-03-02", start - timedelta(hours=23), **poor))
    evaluated = [_evaluated(n, model) for n in range(40) for model in ("stable", "candidate")]
    return {"nights": rows, "completions": [_completion(n) for n in range(24)], "evaluations": evaluated}


def _evaluated(number: int, model: str) -> dict[str, object]:
    """Cases 0 to 6 are broken by the night, 7 to 19 mended, 20 to 29 reworded; the others stay wrong."""
    after = model == "candidate"
    right = (not after if number < 7 else after) if number < 20 else number < 30
    words = f"Yes, {number} of them {HOSTILE}" if after and number < 30 else "There is free parking."
    return _row(
        f"eval-{model}-{number}",
        NOW - timedelta(hours=6),
        "nights",
        night=NIGHT,
        suite="held-out",
        case_id=f"case-{number}",
        group_id="a-and-b",
        model=model,
        adapter="" if model == "stable" else "ns-20260303-0123456789ab",
        question=f"May I bring {number} dogs? {HOSTILE}",
        answer=words,
        score=float(right),
        tokens=9,
        latency_s=0.3,
        parts="{}",
    )


def _night(id: str, night: str, at: datetime, **values: object) -> dict[str, object]:
    empty: Mapping[str, object] = {
        "slot": night,
        "state": "",
        "stage": "",
        "verdict": "",
        "adapter": "",
        "reason": "",
        "seconds": 0.0,
        "manifest": "{}",
    }
    return _row(id, at, "nights", night=night, **{**empty, **values})


def _completion(number: int) -> dict[str, object]:
    group, sample = divmod(number, 4)
    return _row(
        f"comp-{number}",
        NOW - timedelta(hours=6),
        "nights",
        night=NIGHT,
        response_id=f"resp-{group}",
        collection="a-and-b",
        sample=sample,
        text=f"Sample {sample}: breakfast is included {HOSTILE}",
        reward=1.0 - sample / 4,
        parts="{}",
        tokens=9,
        chosen=sample == 0 and group < 4,
    )


def _dead_letters() -> Rows:
    letter = {
        "at": NOW,
        "topic": "interactions",
        "partition": 0,
        "offset": 17,
        "key": "conv-9",
        "value": f"not json {HOSTILE}",
        "reason": "Not an event: invalid JSON.",
    }
    return {"dead_letters": [letter]}
