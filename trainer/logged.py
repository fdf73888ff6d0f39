"""Reads from the record what a night learns from: the newest part first, and no further than it must.

Ten million answers do not fit into memory, so parts of the window are read, each for the collections of which
there is not enough yet, and at the end the long texts of what was chosen: the same as of the whole window.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from infra.lake import Lake
from trainer.judged import Asked
from trainer.queries import Query, Row, apart, check_split, deal, depth, fresh

# Answers that are looked at first, and how many times longer each part is than the one before.
_ROWS = 2000
_WIDER = 16
# A conversation's questions are looked for so long before and after the chosen ones, as pages do.
_LONGEST = timedelta(days=1)
# Long texts are read in ranges of time, each a query, cut at most so often and where nothing stands for long.
_MOST_CUTS = 31
_GAP = timedelta(minutes=30)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def choose(
    lake: Lake,
    since: datetime,
    until: datetime,
    held_out: Iterable[str],
    judged: Sequence[Asked],
    limit: int,
    seed: int,
    learned: Sequence[Asked] = (),
) -> tuple[int, list[Query]]:
    """How many answered queries the window holds, and at most `limit` of them to learn from.

    They are spread evenly over collections, in an order that `seed` alone decides; `queries.fresh` says what
    is left out, what has been `learned` already among it. Those that stand in a conversation with a judged
    question fall out at last, and no others take their places.

    Raises:
        LakeError: the record cannot be read.
        NightError: something was chosen that the night is judged by.
    """
    aside = frozenset(held_out)
    counts = {
        row["collection"]: row["logged"] for row in lake.query("logged_collections", since=since, until=until)
    }
    wanted = counts.keys() - aside
    rows: list[Row] = []
    known: dict[str, list[Row]] = {}
    for begin, end in _parts(lake, since, until):
        names = "\n".join(sorted(wanted))
        rows += lake.query("logged_part", since=begin, until=end, text=names)
        known = fresh(rows, aside, judged, limit, learned)
        enough = depth(map(len, known.values()), limit)
        wanted = {name for name in wanted if len(known.get(name, ())) < enough}
        if not wanted:
            break
    dealt = deal(known, limit, seed)
    whole = texts(lake, dealt)
    queries = [whole[row["response_id"]] for row in dealt]
    said = _said(lake, dealt, queries) if judged else {}
    queries = apart(queries, judged, said)
    check_split(queries, aside, judged, said)
    return sum(counts.values()), queries


def _parts(lake: Lake, since: datetime, until: datetime) -> Iterator[tuple[datetime, datetime]]:
    """The window in parts that follow each other without a gap, newest first."""
    first = lake.query("answered_before", since=since, before=until, offset=_ROWS)
    begin = first[0]["at"] if first else since
    end = until
    while begin < end:
        yield begin, end
        begin, end = max(since, begin - _WIDER * (end - begin)), begin


def texts(lake: Lake, rows: Iterable[Row]) -> dict[str, Query]:
    """The queries of these rows with their long texts, by response: found by their times, which are small.

    Raises:
        LakeError: the record cannot be read.
    """
    found: dict[str, Query] = {}
    for times in _ranges(row["at"] for row in rows):
        stamps = "\n".join(str((at - _EPOCH) // timedelta(microseconds=1)) for at in times)
        until = times[-1] + timedelta(microseconds=1)
        for row in lake.query("logged_texts", since=times[0], until=until, text=stamps):
            found[row["response_id"]] = Query.from_row(row)
    return found


def _ranges(times: Iterable[datetime]) -> list[list[datetime]]:
    """The times in order, cut at their longest gaps: all between the ends of a range is read."""
    ordered = sorted(times)
    gaps = sorted((after - before, place) for place, (before, after) in enumerate(pairwise(ordered), start=1))
    cuts = sorted(place for gap, place in gaps[-_MOST_CUTS:] if gap > _GAP)
    return [ordered[begin:end] for begin, end in pairwise((0, *cuts, len(ordered))) if begin < end]


def _said(lake: Lake, dealt: Sequence[Row], queries: Sequence[Query]) -> dict[str, list[Asked]]:
    """All that was asked in the conversations of the chosen queries, by conversation."""
    names = "\n".join(sorted({query.conversation_id for query in queries} - {""}))
    if not names:
        return {}
    times = [row["at"] for row in dealt]
    found: dict[str, list[Asked]] = {}
    for row in lake.query("said_in", since=min(times) - _LONGEST, until=max(times) + _LONGEST, text=names):
        found.setdefault(row["conversation_id"], []).append((row["collection"], row["query"]))
    return found
