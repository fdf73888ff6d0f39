"""bm25s, imported as if numba were not there.

It compiles itself wherever numba is installed, as beside an engine: 70 MB and a third of each start, for what
NumPy does in 15 µs.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any


def _without(hidden: str, name: str) -> ModuleType:
    """The module of that name, imported while importing `hidden` fails."""
    known = sys.modules.get(hidden)
    sys.modules[hidden] = None  # type: ignore[assignment]  # what makes an import fail
    try:
        return importlib.import_module(name)
    finally:
        del sys.modules[hidden]
        if known:
            sys.modules[hidden] = known


BM25: Any = _without("numba", "bm25s").BM25
