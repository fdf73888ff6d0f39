"""Whether the record stays quick: every query that a page runs, and a night's choice, at 100 thousand and at 10 million rows.

`BENCH_FOLDER` names a folder where the made-up records are kept between runs; ten million rows take 12 GB of disk
while they are made, and some minutes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median

import psutil
from rich.table import Table

from infra.bench import history
from infra.dashboard import conversations, dead_letters, live, nights
from infra.lake import Lake
from infra.settings import Settings, child_environment

SIZES = (100_000, 10_000_000)
TIMES = 5
# Seconds: a page that an operator waits for, and a night's first stage.
PAGE_S = 0.5
NIGHT_S = 5.0


@dataclass(frozen=True, slots=True)
class Asked:
    """One query as a page runs it."""

    page: str
    name: str
    params: Mapping[str, object]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Took:
    """Seconds of the first run on a fresh reader, the median of the later ones, and the largest memory in MB."""

    first_s: float
    median_s: float
    megabytes: float


def run(say: Callable[[str], object], sizes: Sequence[int] = SIZES, times: int = TIMES) -> Table:
    """One row for each query: seconds at each size, and whether the goal is met at the largest."""
    columns = [f"{size:,} rows, s" for size in sizes]
    table = Table("page", "query", *columns, "first, s", "memory, MB", "goal, s", "met")
    measured: dict[tuple[str, str], list[Took]] = {}
    for size in sizes:
        with past(size, say) as settings:
            for asked in questions(settings):
                key = (asked.page, f"{asked.name}{asked.note}")
                measured.setdefault(key, []).append(_time(settings, asked, times))
            say(f"{size:,} rows: a night chooses")
            measured.setdefault(("a night", "choice of 400 queries"), []).append(_choose(settings, times))
    for (page, name), took in measured.items():
        goal = NIGHT_S if page == "a night" else PAGE_S
        last = took[-1]
        seconds = [f"{one.median_s:.3f}" for one in took]
        met = "yes" if last.median_s < goal else "NO"
        table.add_row(page, name, *seconds, f"{last.first_s:.3f}", f"{last.megabytes:.0f}", f"{goal}", met)
    return table



def questions(settings: Settings) -> list[Asked]:
    """Every query of every page with its parameters, at the end of the past that was made up."""
    with Lake.open(settings) as lake:
        (known,) = lake.query("bench_names")
    now: datetime = known["now"]
    more = conversations.PER_PAGE + 1
    texts = {", a common word": "%parking%", ", a word never said": "%nowhere%"}
    return [
        Asked("Loop", "totals", {}),
        Asked("Loop", "answers_since", {"since": now - timedelta(days=1)}),
        Asked("Loop", "nights", {"limit": 1}),
        Asked("Loop", "offsets", {"log": "local"}),
        Asked("Loop", "snapshot", {}),
        *(
            Asked("Live", "traffic", {"since": now - timedelta(minutes=span), "bucket_s": bucket_s}, f", {span} min")
            for span, bucket_s in live.SPANS.items()
        ),
        *(
            Asked("Live", "arms", {"since": now - timedelta(minutes=span)}, f", {span} min")
            for span in live.SPANS
        ),
        Asked("Live", "recent_interactions", {"limit": 8, "before": None}),
        Asked("Conversations", "conversations", {"text": None, "before": None, "limit": more}),
        Asked("Conversations", "conversations", {"text": None, "before": known["middle"], "limit": more}, ", older"),
        *(
            Asked("Conversations", "conversations", {"text": text, "before": None, "limit": more}, note)
            for note, text in texts.items()
        ),
        Asked("Conversations", "conversation", {"conversation_id": known["conversation_id"]}),
        Asked("Nights", "nights", {"limit": nights.LIMIT}, ", all"),
        Asked("Nights", "night", {"night": known["night"]}),
        Asked("Nights", "stages", {"night": known["night"]}),
        Asked("Nights", "completions", {"night": known["night"], "limit": nights.COMPLETIONS}),
        Asked("Canary", "canary_outcomes", {"canary": known["canary"]}),
        Asked("Dead letters", "dead_letters", {"limit": dead_letters.LIMIT}),
        Asked("the canary's watch", "outcomes", {"canary": known["canary"], "since": now - timedelta(hours=9)}),
    ]


@contextmanager
def past(size: int, say: Callable[[str], object]) -> Iterator[Settings]:
    """The settings of a record with so many answers; it is made where there is none, and kept if it has a folder."""
    with tempfile.TemporaryDirectory() as aside:
        settings = Settings(data=Path(os.environ.get("BENCH_FOLDER", aside)) / f"rows-{size}")
        if not Path(settings.lake_catalog).exists():
            history.build(settings, size, say)
        yield settings


def _time(settings: Settings, asked: Asked, times: int) -> Took:
    """On a reader of its own, since the first run reads what later ones remember."""
    with Lake.open(settings) as lake, _memory() as largest:
        seconds = []
        for _ in range(times + 1):
            began = time.perf_counter()
            lake.query(asked.name, **asked.params)
            seconds.append(time.perf_counter() - began)
    return Took(seconds[0], median(seconds[1:]), max(largest))


@contextmanager
def _memory() -> Iterator[list[float]]:
    """Appends the memory of this process in MB to a list, a hundred times a second."""
    found: list[float] = []
    ended = threading.Event()

    def watch() -> None:
        while True:
            found.append(psutil.Process().memory_info().rss / 1e6)
            if ended.wait(0.01):
                return

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield found
    finally:
        ended.set()
        thread.join()
