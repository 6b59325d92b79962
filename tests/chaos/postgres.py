"""A Postgres of its own, which is crashed, and started again."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import Any, TypeAlias

import psycopg

from engage_sync.database import embedded
from tests.chaos.patience import eventually

Database: TypeAlias = psycopg.Connection[Any]


class Postgres:
    """The embedded server; a crash loses nothing that was committed, although nothing waits for the disk."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.url = embedded.start(home)
        # The machine stays up: what a killed server has written, the system keeps.
        with self.connect() as connection:
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("SELECT pg_reload_conf()")

    def connect(self) -> Database:
        return psycopg.connect(self.url, autocommit=True)

    def crash(self) -> None:
        """All backends end at once, in the middle of what they do; the next start recovers."""
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            os.kill(self._process(), signal.SIGQUIT)
        eventually(lambda: not (self.home / "postgres" / "postmaster.pid").exists(), "Postgres to end")

    def start(self) -> None:
        for _ in range(5):
            with contextlib.suppress(Exception):
                embedded.start(self.home)
                return
            time.sleep(1)
        embedded.start(self.home)

    def kill_backend(self, place: float) -> bool:
        """One backend of the daemon is killed; the server ends all others, and recovers by itself."""
        backends = self.backends()
        if not backends:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(backends[int(place * len(backends))], signal.SIGKILL)
        return True

    def backends(self) -> list[int]:
        with contextlib.suppress(psycopg.OperationalError), self.connect() as connection:
            rows = connection.execute(
                "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
                " ORDER BY pid"
            ).fetchall()
            return [row[0] for row in rows]
        return []

    def cut(self, backends: list[int]) -> None:
        with contextlib.suppress(psycopg.OperationalError), self.connect() as connection:
            connection.execute("SELECT pg_terminate_backend(pid) FROM unnest(%s::int[]) AS cut (pid)", (backends,))

    def _process(self) -> int:
        return int((self.home / "postgres" / "postmaster.pid").read_text().splitlines()[0])
