"""A room's own command, run to its end with its progress shown, as an operator would run it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from infra.settings import child_environment


async def run(arguments: Sequence[str], config: Path, say: Callable[[str], None]) -> int:
    """`python -m` with these arguments and this settings file; its exit status. Ended when we are."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        *arguments,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env=child_environment(NIGHTSHIFT_CONFIG=str(config)),
    )
    assert process.stderr
    try:
        async for line in process.stderr:
            say(_message(line.decode(errors="replace")))
        return await process.wait()
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


def _message(line: str) -> str:
    """The message of a log line: what follows `message=`."""
    _, found, message = line.strip().partition("message=")
    return message.strip('"') if found else line.strip()
