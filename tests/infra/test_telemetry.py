"""Log lines, probes and the probe server, asked over HTTP as an orchestrator does."""

from __future__ import annotations

import json
import logging
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest
from prometheus_client import CollectorRegistry, Counter

from infra.errors import EngineUnavailable, ProcessError
from infra.telemetry import LineFormatter, ProbeServer, Ready


def record(message: str, *args: object, err: BaseException | None = None) -> logging.LogRecord:
    info = (type(err), err, err.__traceback__) if err else None
    made = logging.LogRecord("agent.chat", logging.INFO, "chat.py", 1, message, args, info)
    made.created = datetime(2026, 1, 2, 3, 4, 5, 678000, UTC).timestamp()
    return made


def raised(err: Exception) -> Exception:
    try:
        raise err
    except type(err) as caught:
        return caught


def answers(needs: Mapping[str, bool | str]) -> Ready:
    async def ready() -> Mapping[str, bool | str]:
        return needs

    return ready


def get(server: ProbeServer, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as err:
        with err:
            return err.code, err.read().decode()


def test_a_record_is_one_line_of_keys_and_values() -> None:
    line = LineFormatter("agent").format(record("answered in %d ms", 12))
    assert line == (
        'time=2026-01-02T03:04:05.678Z level=info room=agent logger=agent.chat message="answered in 12 ms"'
    )


@pytest.mark.parametrize("text", ["two\nlines", 'a "quote"', "", "a=b", "\x1b[31m"])
def test_no_text_can_forge_a_second_line_or_field(text: str) -> None:
    line = LineFormatter("agent").format(record("%s", text))
    assert "\n" not in line
    assert "\x1b" not in line
    assert json.loads(line.split("message=")[1]) == text


def test_an_exceptions_message_is_kept_only_where_it_cannot_be_a_customers() -> None:
    formatter = LineFormatter("agent")
    theirs = formatter.format(record("failed", err=raised(ValueError("my card is 4111 1111"))))
    assert "4111" not in theirs
    assert "error=ValueError" in theirs
    assert "test_telemetry.py" in theirs
    ours = formatter.format(record("failed", err=raised(EngineUnavailable("no answer on port 8000"))))
    assert "EngineUnavailable: no answer on port 8000" in ours


def test_configure_writes_every_logger_to_stderr_once() -> None:
    code = (
        "import logging, warnings; from infra.telemetry import configure;"
        "configure('a'); configure('trainer');"
        "logging.getLogger('x').info('hello'); warnings.warn('old')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = done.stderr.splitlines()
    assert len(lines) == 2
    assert "room=trainer logger=x message=hello" in lines[0]
    assert "logger=py.warnings" in lines[1]


@pytest.mark.parametrize(
    ("needs", "status"),
    [
        ({}, 200),
        ({"engine": "ok", "log": True}, 200),
        ({"engine": "ok", "log": False}, 503),
        ({"engine": "The engine does not answer."}, 503),
    ],
)
def test_ready_only_when_every_need_is_met(needs: Mapping[str, bool | str], status: int) -> None:
    with ProbeServer("127.0.0.1", 0, answers(needs)) as server:
        code, body = get(server, "/readyz")
        assert (code, json.loads(body)) == (status, needs)
        assert get(server, "/livez")[0] == 200


def test_metrics_are_those_of_the_registry_and_of_the_process() -> None:
    registry = CollectorRegistry()
    Counter("rows", "Rows written", registry=registry).inc(3)
    with ProbeServer("127.0.0.1", 0, answers({}), registry) as server:
        status, text = get(server, "/metrics")
    assert status == 200
    assert "rows_total 3.0" in text
    assert "process_open_fds" in text


def test_a_taken_port_is_an_error_at_start() -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        server = ProbeServer("127.0.0.1", port, answers({}))
        with pytest.raises(ProcessError, match=f"Cannot listen on 127.0.0.1:{port}"):
            server.start()


def test_the_port_is_free_again_after_a_stop() -> None:
    with ProbeServer("127.0.0.1", 0, answers({})) as server:
        port = server.port
        assert get(server, "/livez")[0] == 200
    with ProbeServer("127.0.0.1", port, answers({})) as again:
        assert get(again, "/livez")[0] == 200
