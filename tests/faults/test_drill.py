"""Every known-bad adapter is caught on canary by the real service, as `nightshift canary drill` plays it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.drill.__main__ import BAD

ROOT = Path(__file__).parents[2]
# Eight adapters are taught and tried; on two cores most of the time is teaching.
PATIENCE_S = 3 * 3600
LAST_ANSWER_S = 1.0


def test_every_bad_adapter_is_caught(tmp_path: Path, soak: bool, measured: Callable[[str], None]) -> None:
    if not soak:
        pytest.skip("it takes an hour: `make soak`")
    played = subprocess.run(
        (sys.executable, "-m", "infra.drill", "--json"),
        cwd=ROOT,
        env=os.environ | {"NIGHTSHIFT_DATA": str(tmp_path / "data")},
        stdout=subprocess.PIPE,
        timeout=PATIENCE_S,
        check=False,
    )
    trials = json.loads(played.stdout)
    for trial in trials:
        measured(
            f"{trial['name']}: {trial['answers']} answers, noticed after {trial['detect_s']} s, "
            f"last one {trial['roll_back_s']} s after: {trial['reason']}"
        )
    assert [trial["name"] for trial in trials] == [bad.name for bad in BAD]
    assert [trial["name"] for trial in trials if not trial["rolled_back"]] == []
    assert max(trial["roll_back_s"] for trial in trials) < LAST_ANSWER_S
    assert played.returncode == 0
