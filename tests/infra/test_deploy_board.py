"""The board and Prometheus' file: what they ask for is what the rooms expose, by the rooms' own classes."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry, ProcessCollector

import agent.metrics
import collector.metrics
from infra.eventlog import open_log
from infra.settings import Settings
from tests.ports import find_ports
from trainer.reward.grounded import GroundedReward
from trainer.service import Service

DEPLOY = Path(__file__).parents[2] / "infra" / "deploy"
BOARD = json.loads((DEPLOY / "grafana" / "boards" / "nightshift.json").read_text())
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
EXPRESSIONS = [(panel, target) for panel in PANELS for target in panel["targets"]]
# What a metric of each type is called in a query, by what follows its name.
ENDINGS = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
# Every series has these; a metric's own label of such a name is called exported_….
GIVEN = frozenset({"job", "instance"})

Series = Mapping[str, frozenset[str]]  # a name in a query → the labels that it has


def exposed(registry: CollectorRegistry) -> Iterator[tuple[str, frozenset[str]]]:
    """The series of a registry, those without a sample yet too."""
    for one in set(registry._collector_to_names):
        own = getattr(one, "_labelnames", ())
        labels = {f"exported_{label}" if label in GIVEN else label for label in own} | GIVEN
        for metric in one.describe() if hasattr(one, "describe") else one.collect():
            for ending in ENDINGS[metric.type]:
                yield metric.name + ending, frozenset(labels | ({"le"} if ending == "_bucket" else set()))


@pytest.fixture(scope="module")
def rooms(tmp_path_factory: pytest.TempPathFactory) -> Series:
    """What agent, collector, trainer and every process expose."""
    port = find_ports(1)[0]
    base = Settings(data=tmp_path_factory.mktemp("trainer"))
    settings = base.model_copy(update={"trainer": base.trainer.model_copy(update={"port": port})})
    stopped = threading.Event()
    stopped.set()
    with closing(open_log(settings)) as log:
        trainer = Service(settings, log, GroundedReward())
        trainer.run(stopped)
    process = CollectorRegistry()
    ProcessCollector(registry=process)
    registries = (
        agent.metrics.Metrics(CollectorRegistry()).registry,
        collector.metrics.Metrics().registry,
        trainer._registry,
        process,
    )
    return {"up": GIVEN} | {name: labels for registry in registries for name, labels in exposed(registry)}


@pytest.fixture(scope="module")
def engine() -> Series:
    """What vLLM exposes, as its source names it: importing it takes seconds, starting it a minute."""
    found = find_spec("vllm")
    if found is None or found.origin is None:
        pytest.skip("no vLLM: the extra `engine` brings it")
    source = (Path(found.origin).parent / "v1" / "metrics" / "loggers.py").read_text()
    kinds = re.findall(r'self\._(counter|gauge|histogram)_cls\(\s*name="(vllm:\w+)"', source)
    assert len(kinds) > 20
    return {
        name + ending: GIVEN | ({"le"} if ending == "_bucket" else set())
        for kind, name in kinds
        for ending in ENDINGS[kind]
    }


def names_in(expression: str) -> tuple[set[str], set[str]]:
    """The metrics that a query names, and the labels."""
    text = re.sub(r'"[^"]*"', "", expression).replace("$__rate_interval", "5m")
    text = re.sub(r"\[\w+\]", "", text)
    matchers = re.findall(r"\{([^}]*)\}", text)
    grouped = re.findall(r"\bby \(([^)]*)\)", text)
    text = re.sub(r"\{[^}]*\}|\bby \([^)]*\)", "", text)
    labels = set(re.findall(r"[a-z_]+", " ".join([*matchers, *grouped])))
    return set(re.findall(r"\b[a-z][a-z0-9_:]*\b(?! *\()", text)) - {"or", "and", "sum", "max"}, labels


def check(expressions: Iterable[str], series: Series) -> None:
    for expression in expressions:
        metrics, labels = names_in(expression)
        assert metrics, expression
        for metric in metrics:
            assert metric in series, f"nothing exposes {metric}: {expression}"
            assert labels <= series[metric], f"{metric} has no label {labels - series[metric]}: {expression}"


def test_every_metric_of_the_rooms_is_exposed_with_its_labels(rooms: Series) -> None:
    check((target["expr"] for _, target in EXPRESSIONS if "vllm:" not in target["expr"]), rooms)


def test_every_metric_of_the_engine_is_exposed(engine: Series) -> None:
    check((target["expr"] for _, target in EXPRESSIONS if "vllm:" in target["expr"]), engine)


def test_what_the_rooms_count_is_on_the_board(rooms: Series) -> None:
    """Left out on purpose: what would be a second number for the same thing, or is of no use over time."""
    shown = {metric for _, target in EXPRESSIONS for metric in names_in(target["expr"])[0]}
    left_out = {
        "nightshift_tokens_total",
        "nightshift_redactions_total",
        "nightshift_bad_documents",
        "nightshift_loop_errors_total",
    }
    ours = {
        name for name in rooms if name.startswith("nightshift_") and not name.endswith(("_sum", "_count"))
    }
    assert ours - shown == left_out


def test_legends_name_labels_that_the_query_keeps() -> None:
    for panel, target in EXPRESSIONS:
        used = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
        kept = set(re.findall(r"\w+", " ".join(re.findall(r"\bby \(([^)]*)\)", target["expr"]))))
        assert used == kept - {"le"}, panel["title"]


def test_panels_have_ids_places_and_the_source_that_is_provisioned() -> None:
    sources = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yaml").read_text())
    [source] = sources["datasources"]
    ids = [panel["id"] for panel in BOARD["panels"]]
    assert len(set(ids)) == len(ids)
    assert {panel["datasource"]["uid"] for panel in PANELS} == {source["uid"]}
    assert all(
        len({target["refId"] for target in panel["targets"]}) == len(panel["targets"]) for panel in PANELS
    )
    taken: set[tuple[int, int]] = set()
    for place in (panel["gridPos"] for panel in BOARD["panels"]):
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert max(x for x, _ in cells) < 24
        assert not cells & taken
        taken |= cells


def test_grafana_finds_source_and_board_where_compose_puts_them() -> None:
    compose: Any = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    [source] = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yaml").read_text())[
        "datasources"
    ]
    assert source["url"] == "http://prometheus:9090"
    mounts = dict(volume.split(":")[:2] for volume in compose["grafana"]["volumes"])
    [provider] = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards/boards.yaml").read_text())[
        "providers"
    ]
    assert mounts["./grafana/boards"] == provider["options"]["path"]
    home = compose["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (DEPLOY / "grafana" / "boards" / Path(home).name).is_file()
    asked = dict(volume.split(":")[:2] for volume in compose["prometheus"]["volumes"])
    assert f"--config.file={asked['./prometheus.yaml']}" in compose["prometheus"]["command"]


def test_promtool_takes_the_file_and_every_query(tmp_path: Path) -> None:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("no promtool: Debian's package prometheus has it")
    queries = [target["expr"].replace("$__rate_interval", "5m") for _, target in EXPRESSIONS]
    rules = [{"record": f"board:{number}", "expr": query} for number, query in enumerate(queries)]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "board", "rules": rules}]}))
    for what, path in (("config", DEPLOY / "prometheus.yaml"), ("rules", file)):
        done = subprocess.run([program, "check", what, path], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
