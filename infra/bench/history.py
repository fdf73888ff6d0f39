"""A record with a long past, made up fast: a month of conversations, thumbs, canaries, nights and decisions.

Rows are made by DuckDB itself, of the demo's businesses, and go in as a collector's would: in order of time,
in commits, merged now and then. Lengths are those of real questions and facts: two kilobytes an answer.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from importlib.resources import files

from infra.lake import Lake
from infra.settings import Settings

DAYS = 30
# Rows in one commit: large ones, since it is not the commits that are measured here.
COMMIT = 200_000
# Commits between merges. All at once would take 7 GB of memory for ten million rows.
MERGE_EVERY = 5
# Different choices of facts that retrieval made for one business.
SETS = 100
FACTS = 6
NIGHTS = 30
# The newest answers, of which a night chooses: as many as it reads in its first two looks.
LOOKED_AT = 34_000


def build(settings: Settings, rows: int, say: Callable[[str], object]) -> None:
    """Makes the record of `settings` with so many interactions, the last of them just now."""
    until = datetime.now(UTC)
    since = until - timedelta(days=DAYS)
    step_s = DAYS * 86400 / rows
    with Lake.open(settings, writable=True) as lake:
        lake.query("bench_facts", text=json.dumps(list(_sets())))
        for number, first in enumerate(range(0, rows, COMMIT)):
            part = {"offset": first, "limit": min(COMMIT, rows - first), "since": since, "bucket_s": step_s}
            lake.query("bench_interactions", **part)
            lake.query("bench_feedback", **part)
            lake.query("bench_signals", **part)
            if number % MERGE_EVERY == MERGE_EVERY - 1:
                lake.compact()
                say(f"{first + COMMIT:,} of {rows:,} rows")
        lake.query("bench_completions", since=since, limit=NIGHTS, offset=LOOKED_AT, bucket_s=step_s)
        lake.query("bench_evaluations", since=since, limit=NIGHTS)
        lake.query("bench_nights", since=since, limit=NIGHTS)
        lake.query("bench_deployments", since=since, limit=NIGHTS)
        lake.query("bench_dead_letters", since=since, limit=100)
        lake.query("bench_offsets", until=until, bucket_s=max(step_s, settings.collector.interval_s))
        lake.compact()


def _sets() -> Iterator[dict[str, object]]:
    """What retrieval finds, as pieces of which the SQL makes rows; texts can stand in JSON as they are."""
    text = files("infra.demo").joinpath("data/businesses.jsonl").read_text(encoding="utf-8")
    chance = random.Random(1)
    for number, line in enumerate(text.splitlines()):
        business = json.loads(line)
        for place in range(SETS):
            facts = chance.sample(business["facts"], min(FACTS, len(business["facts"])))
            clean = [(_clean(fact["title"]), _clean(fact["text"])) for fact in facts]
            lines = "\\n".join(f"- {title} {said}" for title, said in clean)
            yield {
                "number": number * SETS + place,
                "collection": business["collection"],
                "system": f"You answer customers of {_clean(business['name'])}. Use only these facts:\\n"
                f"{lines}\\nAnswer in one or two short sentences.",
                "facts": [f'{{"title":"{title}","text":"{said}","score":' for title, said in clean],
                "titles": [title for title, _ in clean],
                "texts": [said for _, said in clean],
            }


def _clean(text: str) -> str:
    """One line without what JSON would escape."""
    return " ".join(text.replace("\\", " ").replace('"', "'").split())
