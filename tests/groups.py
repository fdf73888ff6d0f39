"""Which tests pytest-xdist runs in one process, one after the other: a file's, and all that share a server.

Its own marks for that do nothing under pytest 9.2 (issue 1386 of pytest-xdist), so a file's text tells.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from xdist.scheduler import LoadScopeScheduling

# What is started once for all tests that use it, by what their files say. The engine comes first: with
# whatever learns beside it, it fills the cores and much of the memory, so who looks at the clock waits.
SHARED = {
    "engine": re.compile(r"\breal_engine\b|\bmark\.(engine|clock)\b"),
    "brokers": re.compile(r"\bbootstrap: Callable\b"),
    "postgres": re.compile(r"\bpostgres_(server|catalog)\b"),
}


@cache
def group(file: Path) -> str:
    """The first server that the file's tests use; the file itself where they use none."""
    text = file.read_text()
    return next((name for name, said in SHARED.items() if said.search(text)), str(file))


class Groups(LoadScopeScheduling):
    """Gives each process a whole group at a time.

    With `--no-loadscope-reorder` in the order of their first tests: the engine's, which take longest, begin
    early, while by size one process would be left with them at the end.
    """

    def _split_scope(self, nodeid: str) -> str:
        return group(self.config.rootpath / nodeid.partition("::")[0])
