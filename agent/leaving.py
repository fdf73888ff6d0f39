"""Customers who go away before their answer begins: what was being done for them ends at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Request
from starlette.requests import ClientDisconnect


@asynccontextmanager
async def while_there(request: Request) -> AsyncIterator[None]:
    """Cancels what is awaited inside once the customer has gone. The request's body must have been read.

    A server notices by itself only while it sends, so an engine would write whole answers for nobody.

    Raises:
        ClientDisconnect: instead of the cancellation.
    """
    task = asyncio.current_task()
    assert task is not None
    gone = False

    async def watch() -> None:
        nonlocal gone
        while (await request.receive())["type"] != "http.disconnect":
            pass
        gone = True
        task.cancel()

    watcher = asyncio.create_task(watch())
    try:
        yield
    except asyncio.CancelledError:
        # Another one may have cancelled it too: the server, when it stops.
        if gone and task.uncancel() == 0:
            raise ClientDisconnect from None
        raise
    finally:
        watcher.cancel()
