"""Waking up when another process has something for us: LISTEN on a connection of its own.

A notification may be lost (the connection breaks, the server restarts), so whoever waits also polls: `wait` returns
after its timeout all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import psycopg
import structlog
from psycopg import sql
from psycopg.pq.abc import PGconn
from sqlalchemy.engine import make_url

from engage_sync import waiting

log = structlog.get_logger(__name__)

_RECONNECT_AFTER = 1.0


class Listener:
    """Listens on channels as long as `run` runs; `wait(channel)` returns when one was notified since the last wait."""

    def __init__(self, url: str, channels: Sequence[str]) -> None:
        self._url = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        self._events = {channel: asyncio.Event() for channel in channels}

    async def run(self, stop: asyncio.Event) -> None:
        """Listen until `stop`; after a broken connection everybody is woken, as something may be lost."""
        while not stop.is_set():
            try:
                await self._listen(stop)
            except (psycopg.OperationalError, OSError) as failure:
                log.warning("listener_disconnected", reason=str(failure).splitlines()[0] if str(failure) else "")
                await waiting.first(stop, seconds=_RECONNECT_AFTER)

    async def wait(self, channel: str, seconds: float, stop: asyncio.Event) -> None:
        """Return when the channel was notified since the last wait, after so many `seconds`, or at `stop`."""
        event = self._events[channel]
        await waiting.first(event, stop, seconds=seconds)
        event.clear()

    def wake(self, channel: str) -> None:
        """As if the channel had been notified."""
        self._events[channel].set()

    async def _listen(self, stop: asyncio.Event) -> None:
        connection = await psycopg.AsyncConnection.connect(
            self._url,
            autocommit=True,
            application_name="engage-sync listener",
            connect_timeout=10,
            keepalives=1,
            keepalives_idle=5,
            keepalives_interval=2,
            keepalives_count=3,
        )
        async with connection:
            for channel in self._events:
                await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
            await self._read(connection.pgconn, stop)

    async def _read(self, connection: PGconn, stop: asyncio.Event) -> None:
        """Read notifications as the driver would, without a task, a future and a generator for each."""
        broken: list[psycopg.OperationalError] = []
        ended = asyncio.Event()
        loop, socket = asyncio.get_running_loop(), connection.socket

        def read() -> None:
            try:
                connection.consume_input()
                while notification := connection.notifies():
                    self._events[notification.relname.decode()].set()
            except psycopg.OperationalError as failure:
                broken.append(failure)
                loop.remove_reader(socket)
                ended.set()

        loop.add_reader(socket, read)
        try:
            # What came while nobody listened, and before the socket was watched.
            for event in self._events.values():
                event.set()
            await waiting.first(stop, ended)
        finally:
            loop.remove_reader(socket)
        if broken:
            raise broken[0]
