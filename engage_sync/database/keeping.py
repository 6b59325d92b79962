"""Keeps the embedded server running while the daemon does: after a crash, or when its disk was full, nobody else would.

One that `engage-sync down` stopped stays stopped.
"""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import structlog

from engage_sync import errors, waiting
from engage_sync.database import embedded

log = structlog.get_logger(__name__)

_LOOK_EVERY = 1.0
_FIRST_RETRY, _LAST_RETRY = 1.0, 10.0


async def keep_running(home: Path, stop: asyncio.Event) -> None:
    """Start the server in `home` whenever it has died, until `stop`. Several processes may do so at once."""
    retry = _FIRST_RETRY
    while not stop.is_set():
        if embedded.is_running(home) or embedded.was_stopped(home):
            retry = _FIRST_RETRY
            await waiting.first(stop, seconds=_LOOK_EVERY)
            continue
        try:
            await asyncio.to_thread(embedded.start, home)
            log.warning("embedded_server_started_again")
        except errors.DatabaseUnavailable as failure:
            log.error("embedded_server_does_not_start", reason=str(failure))
            await waiting.first(stop, seconds=retry * (0.75 + 0.5 * random.random()))
            retry = min(2 * retry, _LAST_RETRY)
