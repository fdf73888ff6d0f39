"""Fine-tuning as a process: tried again when it was killed, given up when it failed, never left behind."""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path

import psutil
import pytest

from infra.errors import NightError
from trainer import work


def command(code: str) -> tuple[str, ...]:
    """A stand-in that gets the night's folder as its first argument."""
    return (sys.executable, "-c", "import os, pathlib, signal, sys, time\n" + code)


async def test_one_that_is_killed_is_tried_again(tmp_path: Path) -> None:
    first_is_killed = """
tries = pathlib.Path(sys.argv[1], "tries")
tries.write_text(tries.read_text() + "x" if tries.exists() else "x")
if tries.read_text() == "x":
    os.kill(os.getpid(), signal.SIGKILL)
"""
    await work._train(command(first_is_killed), tmp_path)
    assert (tmp_path / "tries").read_text() == "xx"


async def test_one_that_fails_is_not_and_its_log_is_named(tmp_path: Path) -> None:
    fails = """
print("no memory", file=sys.stderr)
pathlib.Path(sys.argv[1], "tries").open("a").write("x")
sys.exit(1)
"""
    with pytest.raises(NightError, match=r"status 1.*train\.log"):
        await work._train(command(fails), tmp_path)
    assert (tmp_path / "tries").read_text() == "x"
    assert (tmp_path / "train.log").read_text() == "no memory\n"


async def test_its_progress_is_passed_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "PROGRESS_S", 0.0)
    says = 'print("weights are read", file=sys.stderr)\nprint("step 1 of 2, loss 0.5", file=sys.stderr)'
    with caplog.at_level(logging.INFO):
        await work._train(command(says), tmp_path)
    assert caplog.messages == ["finetune: step 1 of 2, loss 0.5"]


async def test_a_night_that_is_cancelled_takes_it_along(tmp_path: Path) -> None:
    sleeps = 'pathlib.Path(sys.argv[1], "pid").write_text(str(os.getpid()))\ntime.sleep(600)'
    training = asyncio.create_task(work._train(command(sleeps), tmp_path))
    async with asyncio.timeout(20):
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            await asyncio.sleep(0.05)
    process = psutil.Process(int((tmp_path / "pid").read_text()))
    training.cancel()
    with pytest.raises(asyncio.CancelledError):
        await training
    process.wait(timeout=10)
