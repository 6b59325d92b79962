"""Waiting for whichever comes first. Every wait of a background part is "stop or timeout": this is the one way to."""

from __future__ import annotations

import asyncio


async def first(*events: asyncio.Event, seconds: float | None = None) -> None:
    """Return when one of the events is set, or after so many seconds; None waits for the events alone."""
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        # Also where we are cancelled ourselves: what nobody waits for any more must not stay behind.
        for wait in waits:
            wait.cancel()
