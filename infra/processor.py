"""What this machine's processor can compute by itself, as the system tells it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

# Processors that compute in bfloat16; others emulate it at a sixth of float32's speed.
_BFLOAT16 = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
_CPUINFO = Path("/proc/cpuinfo")


def features() -> frozenset[str]:
    """The features of this machine's processor; empty where the system does not tell."""
    return read(_CPUINFO.read_text().splitlines()) if _CPUINFO.is_file() else frozenset()


def read(cpuinfo: Sequence[str]) -> frozenset[str]:
    """The processor's features, from the lines of /proc/cpuinfo (`flags` on x86, `Features` on ARM)."""
    for line in cpuinfo:
        if found := re.match(r"(?:flags|Features)\s*:\s*(.*)", line):
            return frozenset(found[1].split())
    return frozenset()


def computes_bfloat16(found: frozenset[str]) -> bool:
    """Whether a processor with these features is fast in bfloat16."""
    return bool(found & _BFLOAT16)
