"""Whether the record stays quick: what pages look up, and a night's choice, at 100,000 and 10,000,000 rows.

`BENCH_FOLDER` names a folder where the made-up records are kept between runs; ten million rows take 12 GB of
disk while they are made, and some minutes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median

import psutil
from rich.table import Table

from infra.bench import history
from infra.dashboard import conversations as pages
from infra.dashboard import dead_letters, live, nights
from infra.dashboard.record import Record
from infra.lake import Lake
from infra.report import night as report
from infra.settings import Settings, child_environment

SIZES = (100_000, 10_000_000)
TIMES = 5
# Seconds: a page that an operator waits for, and a night's first stage.
PAGE_S = 0.5
NIGHT_S = 5.0
NIGHT = "a night"
# `infra` imports no room, so this is a program. Its clock begins once all is imported; memory includes that.
_CHOICE = """
import json, resource, time
from datetime import timedelta
from infra.lake import Lake
from infra.settings import load
from trainer import logged
from trainer.replay import recall
from trainer.reward.controls import LongestReward
settings = load()
with Lake.open(settings) as lake:
    until = lake.query("bench_names")[0]["now"]
began, worked = time.perf_counter(), time.process_time()
with Lake.open(settings) as lake:
    trainer = settings.trainer
    since = until - timedelta(hours=trainer.window_h)
    judged = [("bench", "Is this judged?")]
    known = recall(lake, since, until, (), judged, trainer.replay, LongestReward())  # likes every answer
    recalled = time.perf_counter() - began
    learned = [(one.query.collection, one.query.query) for one in known]
    _, chosen = logged.choose(lake, since, until, (), judged, trainer.queries, trainer.seed, learned)
assert known and chosen
print("\\n" + json.dumps({
    "seconds": time.perf_counter() - began,
    "recalled": recalled,
    "cpu": time.process_time() - worked,
    "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
}))
"""


@dataclass(frozen=True, slots=True)
class Asked:
    """One thing that is looked up: by which page (or room), which named query, and how."""

    page: str
    query: str
    look_up: Callable[[Record], object]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Took:
    """Seconds of the first run with a fresh reader, and medians of later ones: by the clock and of all cores.

    `megabytes` is the largest memory of the process.
    """

    first_s: float
    median_s: float
    cpu_s: float
    megabytes: float


def run(say: Callable[[str], object], sizes: Sequence[int] = SIZES, times: int = TIMES) -> Table:
    """One row for each query: seconds at each size, and whether the goal is met at the largest."""
    took: dict[tuple[str, str], list[Took]] = {}
    for size in sizes:
        with past(size, say) as settings:
            say(f"{size:,} rows: asking")
            for asked in questions(settings):
                took.setdefault((asked.page, asked.query + asked.note), []).append(
                    _time(settings, asked, times)
                )
            took.setdefault((NIGHT, "recalling 1,000, choosing 400"), []).append(_choose(settings, times))
    columns = [f"{size:,} rows, s" for size in sizes]
    table = Table("by", "query", *columns, "of both cores, s", "first, s", "memory, MB", "goal, s", "met")
    for (page, name), at_sizes in took.items():
        last, goal = at_sizes[-1], NIGHT_S if page == NIGHT else PAGE_S
        table.add_row(
            page,
            name,
            *(f"{one.median_s:.3f}" for one in at_sizes),
            f"{last.cpu_s:.3f}",
            f"{last.first_s:.3f}",
            f"{last.megabytes:.0f}",
            f"{goal}",
            "yes" if last.median_s < goal else "NO",
        )
    return table


def questions(settings: Settings) -> list[Asked]:
    """Everything that pages look up, as they do at the end of the past that was made up."""
    with Lake.open(settings) as lake:
        (known,) = lake.query("bench_names")
    now, middle, night, canary = (known[name] for name in ("now", "middle", "night", "canary"))
    texts = {", a common word": "%parking%", ", a word never said": "%nowhere%"}

    def ask(page: str, query: str, note: str = "", **params: object) -> Asked:
        return Asked(page, query, lambda record: record.query(query, **params), note)

    def find(note: str, text: str | None, before: datetime | None) -> Asked:
        return Asked(
            "Conversations", "conversations", lambda record: pages.find(record, text, before, now), note
        )

    return [
        ask("Loop", "answers"),
        ask("Loop", "answers_since", since=now - timedelta(days=1)),
        ask("Loop", "nights", limit=1),
        ask("Loop", "offsets", log="local"),
        ask("Loop", "snapshot"),
        *(
            ask("Live", "traffic", f", {span} min", since=now - timedelta(minutes=span), bucket_s=bucket_s)
            for span, bucket_s in live.SPANS.items()
        ),
        *(ask("Live", "arms", f", {span} min", since=now - timedelta(minutes=span)) for span in live.SPANS),
        ask("Live", "recent_interactions", limit=8, before=None),
        find(", newest", None, None),
        find(", older", None, middle),
        *(find(note, text, None) for note, text in texts.items()),
        *(find(f"{note}, older", text, middle) for note, text in texts.items()),
        ask("Conversations", "conversation", conversation_id=known["conversation_id"]),
        ask("Nights", "nights", ", all", limit=nights.LIMIT),
        ask("Nights", "night", night=night),
        ask("Nights", "stages", night=night),
        ask("Nights", "completions", night=night, limit=nights.COMPLETIONS),
        ask("Nights", "learned_from", night=night, limit=report.ROWS),
        ask("Nights", "evaluation_cases", night=night, limit=report.CASES),
        ask("Questions", "deployment_history"),
        ask("Canary", "canary_outcomes", canary=canary),
        ask("Dead letters", "dead_letters", limit=dead_letters.LIMIT),
        ask("trainer", "outcomes", canary=canary, since=known["trial"]),
    ]


@contextmanager
def past(size: int, say: Callable[[str], object]) -> Iterator[Settings]:
    """The settings of a record with so many answers; made where there is none, kept in BENCH_FOLDER."""
    with tempfile.TemporaryDirectory() as aside:
        settings = Settings(data=Path(os.environ.get("BENCH_FOLDER", aside)) / f"rows-{size}")
        if not Path(settings.lake_catalog).exists():
            history.build(settings, size, say)
        yield settings


def _time(settings: Settings, asked: Asked, times: int) -> Took:
    """With readers of its own, since the first run reads what later ones remember."""
    seconds, cpu = [], []
    with closing(Record(settings)) as record, _memory() as megabytes:
        for _ in range(times + 1):
            began, worked = time.perf_counter(), time.process_time()
            asked.look_up(record)
            seconds.append(time.perf_counter() - began)
            cpu.append(time.process_time() - worked)
    return Took(seconds[0], median(seconds[1:]), median(cpu[1:]), max(megabytes))


@contextmanager
def _memory() -> Iterator[list[float]]:
    """Appends the memory of this process in MB to a list, a hundred times a second."""
    found: list[float] = []
    ended = threading.Event()

    def watch() -> None:
        while not found or not ended.wait(0.01):
            found.append(psutil.Process().memory_info().rss / 1e6)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield found
    finally:
        ended.set()
        thread.join()


def _choose(settings: Settings, times: int) -> Took:
    """The night's choice, in processes as nights are: each reads anew."""
    variables = {"NIGHTSHIFT_DATA": str(settings.data)}
    runs = []
    for _ in range(times):
        done = subprocess.run(
            [sys.executable, "-c", _CHOICE],
            env=child_environment(**variables),
            capture_output=True,
            check=True,
        )
        runs.append(json.loads(done.stdout.splitlines()[-1]))
    return Took(
        runs[0]["seconds"],
        median(run["seconds"] for run in runs),
        median(run["cpu"] for run in runs),
        max(run["megabytes"] for run in runs),
    )
