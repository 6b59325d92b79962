"""Waiting for whichever comes first. Every wait of a background part is "stop or timeout": this is the one way to."""

from __future__ import annotations

import asyncio


async def first(*events: asyncio.Event, seconds: float | None = None) -> None:
    """Return when one of the events is set, or after so many seconds; None waits for the events alone."""
    if any(event.is_set() for event in events):
        # Without a task for each; but whoever else has something to do has a turn, as after any other wait.
        await asyncio.sleep(0)
        return
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        # Also where we are cancelled ourselves: what nobody waits for any more must not stay behind.
        for wait in waits:
            wait.cancel()
