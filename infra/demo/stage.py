"""The demo's stage: its settings file, its knowledge, its suite, and the service that plays on it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from infra.demo.business import Business, Cast
from infra.errors import ProcessError
from infra.settings import Settings, child_environment, load


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is played. These end in under a quarter of an hour on two cores; see the diary."""

    learn: int = 200  # questions asked by day
    held_out: int = 120  # cases of the suite
    samples: int = 6  # completions for each question
    min_rows: int = 30  # fewer chosen rows move a 135M model too little for the suite to see
    min_cases: int = 100  # fewer cases cannot show a gain of a few points
    conduct: int = 30  # cases of each suite of conduct: fewer tell too little
    rehearsal: int = 24  # questions of each kind to rehearse conduct with
    trainings: int = 2  # as `trainer.trainings` has it: a third would take three minutes more


def write_settings(settings: Settings, seed: int, cast: Cast, sizes: Sizes, reward: str = "") -> Path:
    """The demo's own settings file, in its data folder: `nightshift --config FILE up` goes on with it.

    `reward` is the one that chooses what to learn from; empty leaves it to the settings' default.
    """
    folder = settings.data.resolve() / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "nightshift.toml"
    held_out = sorted({question.collection for question in cast.held_out})
    rooms = ("agent", "engine", "collector", "dashboard")
    lines = [
        "# Written by the demo; the next demo writes it anew.",
        f"data = {json.dumps(str(settings.data.resolve()))}",
        f"models = {json.dumps(str(settings.models.resolve()))}",
        *(f"{room}.port = {getattr(settings, room).port}" for room in rooms),
        "",
        "[trainer]",
        f"port = {settings.trainer.port}",
        f'schedule = "0 {(datetime.now(UTC).hour + 12) % 24} * * *"  # none falls due during the demo',
        f"queries = {sizes.learn}",
        f"samples = {sizes.samples}",
        f"min_rows = {sizes.min_rows}",
        f"min_cases = {sizes.min_cases}",
        f"conduct = {sizes.conduct}",
        f"rehearsal = {sizes.rehearsal}",
        f"trainings = {sizes.trainings}",
        f"seed = {seed}",
        *([f'reward = "{reward}"'] if reward else []),
        f"held_out = {json.dumps(held_out)}",
        "",
        "[canary]",
        "steps = [0.5, 1.0]",
        "step_s = 0",
        "max_outcomes = 400",
        "promotions_a_day = 100  # a demo's days take minutes",
    ]
    file.write_text("\n".join(lines) + "\n")
    return file


def write_knowledge(settings: Settings, businesses: tuple[Business, ...]) -> None:
    """One collection for each business, as `nightshift knowledge add` would make it."""
    for business in businesses:
        folder = settings.knowledge_dir / business.collection
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "about.toml").write_text(f"name = {json.dumps(business.name)}\n")
        facts = (json.dumps({"title": title, "text": text}) for title, text in business.facts)
        (folder / "facts.jsonl").write_text("".join(fact + "\n" for fact in facts))


def write_suite(settings: Settings, cast: Cast) -> None:
    """The held-out questions with their references, where gates look for suites."""
    folder = settings.suites_dir
    folder.mkdir(parents=True, exist_ok=True)
    cases = (
        json.dumps(
            {
                "id": f"{place}",
                "collection": case.collection,
                "question": case.text,
                "reference": case.reference,
                "accepted": case.accepted,
                "cluster": case.cluster,
            }
        )
        for place, case in enumerate(cast.held_out)
    )
    (folder / "held_out.jsonl").write_text("".join(case + "\n" for case in cases))


def clear(settings: Settings) -> Path:
    """The folder for what the demo writes. An earlier demo's data folder is moved aside, never deleted.

    Raises:
        ProcessError: the data folder holds a record that is not a demo's.
    """
    if settings.data.exists() and any(settings.data.iterdir()):
        if not (settings.data / "demo").is_dir():
            raise ProcessError(
                f"The data folder {settings.data} holds a record that is not a demo's: name another one "
                "with NIGHTSHIFT_DATA."
            )
        aside = settings.data.with_name(f"{settings.data.name}-{time.strftime('%Y%m%dT%H%M%S')}")
        settings.data.rename(aside)
    folder = settings.data / "demo"
    folder.mkdir(parents=True)
    return folder


def prepare(settings: Settings, seed: int, cast: Cast, sizes: Sizes, reward: str = "") -> Service:
    """Everything that the service finds when it starts, in an empty data folder; `reward` as in settings.

    Raises:
        ProcessError: the data folder holds a record that is not a demo's.
    """
    folder = clear(settings)
    write_knowledge(settings, cast.businesses)
    write_suite(settings, cast)
    return Service(write_settings(settings, seed, cast, sizes, reward), folder / "up.log")


class Service:
    """`nightshift up` as a process of its own; started again when it was killed."""

    def __init__(self, file: Path, log: Path) -> None:
        self.file = file
        self.settings = load(file)
        self._command = [sys.executable, "-m", "infra.cli", "--config", str(file), "up", "--json"]
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self.starts = 0

    def keep_up(self) -> None:
        """Starts the service, or starts it again when its supervisor has died."""
        if self._process is None or self._process.poll() is not None:
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(
                    self._command, stdout=log, stderr=log, env=child_environment()
                )
            self.starts += 1

    def stop(self, patience_s: float = 60.0) -> None:
        """Stops all rooms cleanly, as Ctrl-C does.

        Raises:
            ProcessError: it did not stop in time.
        """
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        deadline = time.monotonic() + patience_s
        while self._process.poll() is None:
            if time.monotonic() > deadline:
                raise ProcessError(f"The service did not stop within {patience_s:.0f} s: see {self._log}.")
            time.sleep(0.1)
