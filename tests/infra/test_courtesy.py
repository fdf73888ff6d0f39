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
print(os.nice(0), session.read_text().split()[-1] if session.exists() else "none")
"""
SESSIONS = Path("/proc/self/autogroup")


def said(*, leader: bool) -> list[str]:
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, capture_output=True, text=True, check=True, start_new_session=leader)
    return done.stdout.split()


def test_a_process_steps_back_from_where_it_was() -> None:
    assert said(leader=False)[0] == str(min(19, os.nice(0) + 10))


@pytest.mark.skipif(not SESSIONS.exists(), reason="the kernel does not group processes by session")
def test_its_session_steps_back_with_it_only_when_it_is_its_own() -> None:
    before = SESSIONS.read_text().split()[-1]
    assert said(leader=True)[1] == "10"
    assert said(leader=False)[1] == before
    assert SESSIONS.read_text().split()[-1] == before
