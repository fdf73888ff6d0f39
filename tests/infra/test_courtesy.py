"""Rooms that can wait leave the processors to answers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import os
from pathlib import Path
from infra.courtesy import LEARNING, give_way

give_way(LEARNING)
session = Path("/proc/self/autogroup")
print(os.nice(0), session.read_text() if session.exists() else "")
"""
SESSION = Path("/proc/self/autogroup")


def session_niceness() -> str | None:
    """None where the kernel does not group by session: no such file, or an empty one inside a cgroup."""
    told = SESSION.read_text().split() if SESSION.exists() else []
    return told[-1] if told else None


def said(*, leader: bool) -> list[str]:
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, capture_output=True, text=True, check=True, start_new_session=leader)
    return done.stdout.split()


@pytest.mark.parametrize("leader", [True, False])
def test_a_process_steps_back_from_where_it_was(leader: bool) -> None:
    assert said(leader=leader)[0] == str(min(19, os.nice(0) + 10))


@pytest.mark.skipif(session_niceness() is None, reason="the kernel does not group processes by session")
def test_its_session_steps_back_with_it_only_when_it_is_its_own() -> None:
    before = session_niceness()
    assert said(leader=True)[-1] == "10"
    assert said(leader=False)[-1] == before
    assert session_niceness() == before
