"""`make bench`: measurements as ratios within one run (floor, ours), for the diary. Names choose some."""

from __future__ import annotations

import sys
from collections.abc import Callable

from rich.console import Console
from rich.table import Table

from infra.bench import adapters, append, gateway, ingest, learning, rows

BENCHES: dict[str, Callable[[Callable[[str], object]], Table]] = {
    "ingest": ingest.run,
    "append": append.run,
    "gateway": gateway.run,
    "rows": rows.run,
    "ingest-late": ingest.run_late,
    "learning": learning.run,
    "adapters": adapters.run,
}


def main(names: list[str]) -> int:
    """Runs the named measurements, or all."""
    if unknown := set(names) - BENCHES.keys():
        print(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(BENCHES)}", file=sys.stderr)  # noqa: T201
        return 2
    console = Console(highlight=False)
    for name in names or BENCHES:
        console.print(BENCHES[name](console.print))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
