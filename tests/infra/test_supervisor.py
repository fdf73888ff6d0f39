"""The supervisor over tiny real processes: small servers with a probe, one with a child of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from infra.dashboard.asking import Probe
from infra.dashboard.rooms import Health, ask
from infra.errors import ProcessError
from infra.process import LOG_LIMIT, Folders, Process, Running, end_leftovers, holder
from infra.sections import EngineSettings
from infra.settings import Settings, child_environment
from infra.supervisor import LONGEST_DELAY_S, Supervisor, delay_s, processes
from infra.watchdog import left
from tests.waiting import until

# Serves /readyz on a port; says in a file when it was asked to end.
SERVER = """
import http.server, pathlib, signal, sys
name, port, ends = sys.argv[1:]
class Probe(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"{}")
    def log_message(self, *args): pass
def end(*_):
    with open(ends, "a") as file: file.write(name + "\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
print("serving", flush=True)
http.server.HTTPServer(("127.0.0.1", int(port)), Probe).serve_forever()
"""

# Like the engine: the second process keeps the port, and does not notice that the first one is gone.
PAIR = """
import subprocess, sys
subprocess.Popen([sys.executable, "-c", *sys.argv[1:]]).wait()
"""

# What `nightshift up` does, with one pair.
UP = """
import sys
from pathlib import Path
from infra.dashboard.asking import Probe
from infra.process import Process
from infra.supervisor import Supervisor
data, port, *command = sys.argv[1:]
with Supervisor([Process("pair", tuple(command), Probe("127.0.0.1", int(port)))], Path(data)) as supervisor:
    supervisor.wait_ready(20)
    print("ready", flush=True)
    supervisor.wait()
"""

PATIENCE_S = 10.0


def server(name: str, port: int, ends: Path) -> Process:
    command = (sys.executable, "-c", SERVER, name, str(port), str(ends))
    return Process(name, command, Probe("127.0.0.1", port))


def pair(port: int, ends: Path) -> Process:
    command = (sys.executable, "-c", PAIR, SERVER, "pair", str(port), str(ends))
    return Process("pair", command, Probe("127.0.0.1", port))


def listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def gone(process: psutil.Process) -> bool:
    """Ended, though its parent may not have asked how yet."""
    with suppress(psutil.NoSuchProcess):
        return process.status() == psutil.STATUS_ZOMBIE
    return True


def pid_of(supervisor: Supervisor, name: str) -> int:
    try:
        return int(supervisor.folders.pid_file(name).read_text())
    except FileNotFoundError:
        return 0


@contextmanager
def killed_at_the_end(popen: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    try:
        yield popen
    finally:
        popen.kill()
        popen.wait()
        assert popen.stdout
        popen.stdout.close()


@pytest.fixture
def ports(free_ports: Callable[[int], list[int]]) -> list[int]:
    return free_ports(3)


def test_all_become_ready_and_end_in_reverse_order(tmp_path: Path, ports: list[int]) -> None:
    ends = tmp_path / "ends"
    names = ["engine", "agent", "collector"]
    seen: list[tuple[str, Health]] = []
    rooms = [server(name, port, ends) for name, port in zip(names, ports, strict=True)]
    with Supervisor(rooms, tmp_path) as supervisor:
        assert supervisor.wait_ready(20, lambda name, health: seen.append((name, health)))
        assert {name: health.state for name, health in supervisor.health().items()} == dict.fromkeys(
            names, "up"
        )
        assert all(pid_of(supervisor, name) for name in names)

    assert ends.read_text().split() == ["collector", "agent", "engine"]
    assert not any(map(listens, ports))
    assert not list(supervisor.folders.run.glob("*.pid"))
    assert {name for name, health in seen if health.state == "up"} == set(names)
    assert "serving" in supervisor.folders.log("agent").read_text()


def test_what_dies_is_started_again(tmp_path: Path, ports: list[int]) -> None:
    with Supervisor([server("agent", ports[0], tmp_path / "ends")], tmp_path) as supervisor:
        supervisor.wait_ready(20)
        first = pid_of(supervisor, "agent")
        os.kill(first, signal.SIGKILL)
        until(lambda: pid_of(supervisor, "agent") not in (0, first), "a new process", PATIENCE_S)
        until(lambda: supervisor.health()["agent"].state == "up", "a room that is up", PATIENCE_S)


def test_killing_one_half_of_a_pair_frees_its_port_for_the_next(tmp_path: Path, ports: list[int]) -> None:
    with Supervisor([pair(ports[0], tmp_path / "ends")], tmp_path) as supervisor:
        supervisor.wait_ready(20)
        first = pid_of(supervisor, "pair")
        (second,) = psutil.Process(first).children()
        os.kill(first, signal.SIGKILL)
        until(lambda: pid_of(supervisor, "pair") not in (0, first), "a new process", PATIENCE_S)
        assert gone(second)
        until(lambda: supervisor.health()["pair"].state == "up", "a room that is up", PATIENCE_S)


def test_nothing_is_left_when_the_supervisor_is_killed(tmp_path: Path, ports: list[int]) -> None:
    command = pair(ports[0], tmp_path / "ends").command
    up = [sys.executable, "-c", UP, str(tmp_path), str(ports[0]), *command]
    started = subprocess.Popen(up, stdout=subprocess.PIPE, text=True)
    with killed_at_the_end(started) as supervisor:
        assert supervisor.stdout
        assert supervisor.stdout.readline() == "ready\n"
        leader = psutil.Process(int((tmp_path / "run" / "pair.pid").read_text()))
        (second,) = leader.children()
        supervisor.kill()
        until(lambda: gone(leader) and gone(second) and not listens(ports[0]), "the end of all", PATIENCE_S)


def test_a_new_supervisor_ends_what_an_old_one_left(tmp_path: Path, ports: list[int]) -> None:
    process = pair(ports[0], tmp_path / "ends")
    left_over = Running(process, Folders(tmp_path / "run", tmp_path / "logs"), child_environment())
    until(lambda: ask(process.probe).state == "up", "a room that is up", PATIENCE_S)
    (second,) = psutil.Process(left_over.pid).children()
    os.kill(left_over.pid, signal.SIGKILL)  # so that only its child is left, which holds the port
    with Supervisor([process], tmp_path) as supervisor:
        supervisor.wait_ready(20)
        assert gone(second)
    assert left_over.ended() is not None


def test_a_pid_that_is_somebody_elses_is_not_killed(tmp_path: Path) -> None:
    folders = Folders(tmp_path / "run", tmp_path / "logs")
    folders.run.mkdir()
    bystander = subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True
    )
    with bystander:
        folders.pid_file("agent").write_text(str(bystander.pid))
        long_ago = time.time() - 3600
        os.utime(folders.pid_file("agent"), (long_ago, long_ago))
        assert end_leftovers(folders) == []
        assert bystander.poll() is None
        bystander.communicate(b"\n")
    assert bystander.returncode == 0


def test_what_does_not_end_in_its_grace_is_killed(tmp_path: Path) -> None:
    deaf = "signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    folders = Folders(tmp_path / "run", tmp_path / "logs")
    process = Process(
        "deaf", (sys.executable, "-c", f"import signal, time; {deaf}"), Probe("127.0.0.1", 1), grace_s=0.2
    )
    running = Running(process, folders, child_environment())
    until(lambda: "deaf" in folders.log("deaf").read_text(), "the ready line", PATIENCE_S)
    assert not running.stop()
    assert not psutil.pid_exists(running.pid)


def test_a_process_that_cannot_run_ends_the_wait_with_its_last_words(
    tmp_path: Path, ports: list[int]
) -> None:
    broken = Process(
        "agent",
        (sys.executable, "-c", "raise SystemExit('the model is missing')"),
        Probe("127.0.0.1", ports[0]),
    )
    with (
        pytest.raises(ProcessError, match="3 times in a row, last with status 1: the model is missing"),
        Supervisor([broken], tmp_path) as supervisor,
    ):
        supervisor.wait_ready(20)


def test_the_wait_ends_with_the_time_and_says_what_is_missing(tmp_path: Path, ports: list[int]) -> None:
    silent = Process(
        "agent", (sys.executable, "-c", "import time; time.sleep(60)"), Probe("127.0.0.1", ports[0])
    )
    with (
        Supervisor([silent], tmp_path) as supervisor,
        pytest.raises(ProcessError, match=r"agent \(no answer"),
    ):
        supervisor.wait_ready(0.3)


def test_a_stop_ends_the_wait(tmp_path: Path, ports: list[int]) -> None:
    silent = Process(
        "agent", (sys.executable, "-c", "import time; time.sleep(60)"), Probe("127.0.0.1", ports[0])
    )
    with Supervisor([silent], tmp_path) as supervisor:
        supervisor.ask_to_stop()
        assert not supervisor.wait_ready(60)


def test_a_command_that_does_not_exist_is_tried_again_and_told(tmp_path: Path, ports: list[int]) -> None:
    missing = Process("agent", ("/nowhere/program",), Probe("127.0.0.1", ports[0]))
    with Supervisor([missing], tmp_path) as supervisor, pytest.raises(ProcessError, match="3 times in a row"):
        supervisor.wait_ready(20)


def test_two_supervisors_do_not_share_a_folder(tmp_path: Path, ports: list[int]) -> None:
    with (
        Supervisor([server("agent", ports[0], tmp_path / "ends")], tmp_path),
        pytest.raises(ProcessError, match="Another `nightshift up`"),
        Supervisor([server("agent", ports[1], tmp_path / "ends")], tmp_path),
    ):
        pass


def test_a_taken_port_is_named_with_its_holder(tmp_path: Path, ports: list[int]) -> None:
    with socket.create_server(("127.0.0.1", ports[0])):
        assert str(os.getpid()) in holder(ports[0])
        taken = Supervisor([server("agent", ports[0], tmp_path / "ends")], tmp_path)
        with (
            pytest.raises(ProcessError, match=f"agent needs port {ports[0]}, which is held by process"),
            taken,
        ):
            pass
    assert holder(ports[0]) == ""


def test_a_large_log_is_moved_aside(tmp_path: Path, ports: list[int]) -> None:
    folders = Folders(tmp_path / "run", tmp_path / "logs")
    folders.logs.mkdir()
    folders.log("agent").write_bytes(b"x" * (LOG_LIMIT + 1))
    process = Process("agent", (sys.executable, "-c", "print('new')"), Probe("127.0.0.1", ports[0]))
    running = Running(process, folders, child_environment())
    until(lambda: running.ended() is not None, "its end", PATIENCE_S)
    assert folders.log("agent").read_text() == "new\n"
    assert (folders.logs / "agent.old.log").stat().st_size == LOG_LIMIT + 1


def test_the_delay_grows_to_its_limit_and_stays_there() -> None:
    assert [delay_s(n) for n in (1, 2, 3)] == [0.5, 1.0, 2.0]
    assert delay_s(7) == delay_s(10_000) == LONGEST_DELAY_S


def test_the_watchdog_ends_what_was_noted_and_not_forgotten() -> None:
    assert left([b"+10", b"+20", b"-10", b"+30", b"-40"]) == {20, 30}


def test_rooms_are_started_as_a_deployment_does(settings: Settings) -> None:
    rooms = processes(settings)
    assert [room.name for room in rooms] == ["engine", "agent", "collector", "trainer", "dashboard"]
    assert rooms[1].command[1:] == ("-m", "agent")
    assert rooms[-1].probe.port == settings.dashboard.port


def test_an_engine_elsewhere_is_not_started(settings: Settings) -> None:
    remote = settings.model_copy(update={"engine": EngineSettings(host="192.0.2.1")})
    assert "engine" not in [room.name for room in processes(remote)]
