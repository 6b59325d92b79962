"""Being a worker: a connection of its own that holds the worker's lock, and notices when it is lost."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
from psycopg import pq

from engage_sync.database.engine import connect_directly
from engage_sync.outbox import workers


class Membership:
    """Alive from `join` on, as long as its connection; `lost` is set when the connection breaks."""

    def __init__(self, connection: psycopg.Connection[Any], worker_id: int) -> None:
        self.worker_id = worker_id
        self.lost = asyncio.Event()
        self._connection = connection
        self._descriptor = connection.fileno()
        asyncio.get_running_loop().add_reader(self._descriptor, self._look)

    @classmethod
    async def join(cls, direct_url: str) -> Membership:
        """Register as a worker. Raises errors.DatabaseUnavailable."""
        connection, worker_id = await asyncio.to_thread(_register, direct_url)
        return cls(connection, worker_id)

    def leave(self) -> None:
        """Let go of the lock. From then on others free what is still held."""
        self._forget()
        self._connection.close()

    def _look(self) -> None:
        # Nothing is ever asked on this connection: what comes in by itself is its end, or a notice.
        try:
            self._connection.pgconn.consume_input()
            broken = self._connection.pgconn.status != pq.ConnStatus.OK
        except psycopg.OperationalError:
            broken = True
        if broken:
            self._forget()
            self.lost.set()

    def _forget(self) -> None:
        if not self.lost.is_set():
            asyncio.get_running_loop().remove_reader(self._descriptor)


def _register(direct_url: str) -> tuple[psycopg.Connection[Any], int]:
    connection = connect_directly(direct_url, application="engage-sync worker")
    try:
        return connection, workers.register(connection)
    except BaseException:
        connection.close()
        raise
