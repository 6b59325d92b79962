"""The way to Postgres: one engine a process, made by the composition root and handed down.

Everything below the use cases takes a `Connection` and never commits. Sessions run in UTC.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from typing import Any

import orjson
import psycopg
import sqlalchemy
from sqlalchemy import Engine, event, text
from sqlalchemy.engine import make_url

from engage_sync import errors
from engage_sync.database import embedded
from engage_sync.settings import Settings

_DISK_FULL = "53100"
# SQLSTATE classes of what comes instead of an answer: no connection, no such user or database, no room for one more.
_UNREACHABLE = ("08", "28", "3D", "57", "53300")
_IDLE_SECONDS = 2.0
_KEEPALIVE: dict[str, Any] = {"keepalives": 1, "keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3}
# The same from the server's side, which would else keep the locks of a host that lost its power for two hours.
_NOTICE_DEATH = """
    SELECT set_config('tcp_keepalives_idle', '3', false), set_config('tcp_keepalives_interval', '2', false),
           set_config('tcp_keepalives_count', '2', false), set_config('tcp_user_timeout', '7s', false)
"""
# While it is busy, a server process looks no further: it would go on for a process that was killed, with its locks.
_LOOK_FOR_CLIENT = "SELECT set_config('client_connection_check_interval', '2s', false)"


def database_url(settings: Settings, *, direct: bool = False) -> str:
    """The URL of the database: the one that is set, else the embedded server's, which is started if need be.

    `direct` asks for the way past a connection pooler, for locks that a session holds and for LISTEN.
    """
    chosen = (settings.database_direct_url if direct else None) or settings.database_url
    if chosen is not None:
        return chosen.get_secret_value()
    return embedded.start(settings.home)


def create_engine(url: str, *, pool_size: int = 10, application: str = "engage-sync", revision: str = "") -> Engine:
    """An engine for a Postgres URL (`postgresql://…`), with JSON by orjson and every session in UTC.

    `revision` is the schema that this process is made for, so that `doctor` finds those that run an old version.
    """
    try:
        parsed = make_url(url).set(drivername="postgresql+psycopg")
    except sqlalchemy.exc.ArgumentError:
        raise errors.UsageError(
            "ENGAGE_SYNC_DATABASE_URL is not a Postgres URL. Expected: postgresql://user:password@host:5432/database"
        ) from None
    engine = sqlalchemy.create_engine(
        parsed,
        pool_size=pool_size,
        max_overflow=pool_size,
        # The one that was used last is the one whose statements are prepared and cached.
        pool_use_lifo=True,
        json_serializer=_dump,
        json_deserializer=orjson.loads,
        # What goes wrong is logged, and people's data with it.
        hide_parameters=True,
        connect_args={
            **_KEEPALIVE,
            "connect_timeout": 10,
            # The process's own, by which it finds its statements again (cancel_statements).
            "application_name": " ".join(
                part for part in (application, revision, socket.gethostname()[:24], str(os.getpid())) if part
            ),
            "options": "-c timezone=UTC -c jit=off",
        },
    )
    event.listen(engine, "connect", _set_up)
    event.listen(engine, "checkin", _note_return)
    event.listen(engine, "checkout", _ping_after_idling)
    return engine


def cancel_statements(engine: Engine) -> int:
    """Cancel what this process's connections of the pool are executing right now; how many there were."""
    with engine.connect() as connection:
        rows = connection.execute(
            text(
                """
                SELECT pg_cancel_backend(pid) FROM pg_stat_activity
                WHERE application_name = current_setting('application_name') AND pid <> pg_backend_pid()
                  AND state = 'active'
                """
            )
        )
        return len(rows.all())


def connect_directly(url: str, *, application: str) -> psycopg.Connection[Any]:
    """A connection of one's own, outside the pool, in autocommit, that notices a lost server within seconds."""
    try:
        connection = psycopg.connect(
            make_url(url).set(drivername="postgresql").render_as_string(hide_password=False),
            autocommit=True,
            application_name=application,
            connect_timeout=10,
            options="-c timezone=UTC",
            **_KEEPALIVE,
        )
        _notice_death(connection)
        return connection
    except psycopg.OperationalError as failure:
        raise unavailable(failure) from failure


def unavailable(failure: BaseException) -> errors.DatabaseUnavailable:
    """One line for a person, without the password that a driver's message might carry."""
    reason = str(getattr(failure, "orig", failure)).strip().splitlines()
    if is_full(failure):
        return errors.DatabaseUnavailable(
            f"The database's disk is full: {reason[0]}. Make room where Postgres keeps its data (the embedded one in"
            " ENGAGE_SYNC_HOME); nothing is lost, and a running daemon goes on by itself."
        )
    if not (_sqlstate(failure) or "08").startswith(_UNREACHABLE):
        return errors.DatabaseUnavailable(f"Postgres could not do it: {reason[0]}.")
    return errors.DatabaseUnavailable(
        f"Postgres can't be reached: {reason[0] if reason else type(failure).__name__}. "
        "Check ENGAGE_SYNC_DATABASE_URL, or unset it to use the embedded server."
    )


def is_full(failure: BaseException) -> bool:
    """Whether Postgres has no room on its disk: it says nothing of what was asked of it."""
    # A connection that fails before it is one has no SQLSTATE.
    return _sqlstate(failure) == _DISK_FULL or "No space left on device" in str(failure)


def _sqlstate(failure: BaseException) -> str | None:
    found: str | None = getattr(getattr(failure, "orig", failure), "sqlstate", None)
    return found


def _dump(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode()


def _note_return(_connection: Any, record: Any) -> None:
    record.info["returned_at"] = time.monotonic()


def _ping_after_idling(connection: Any, record: Any, _proxy: Any) -> None:
    """A connection that lay idle may have lost its server; asking at each use would cost as much as many a use."""
    if time.monotonic() - record.info.get("returned_at", time.monotonic()) < _IDLE_SECONDS:
        return
    try:
        connection.execute("SELECT 1")
        connection.rollback()
    except psycopg.Error as failure:
        # The pool takes another one, and the others of the same age with it.
        raise sqlalchemy.exc.InvalidatePoolError from failure


def _set_up(connection: psycopg.Connection[Any], _record: Any) -> None:
    # Hot statements run thousands of times on one connection; planning them each time costs more than running them.
    connection.prepare_threshold = 3
    connection.autocommit = True
    _notice_death(connection)
    connection.autocommit = False


def _notice_death(connection: psycopg.Connection[Any]) -> None:
    """Let the server end this session, and whatever it is at, within seconds of the death of its process or host."""
    connection.execute(_NOTICE_DEATH)
    # Not every system that a server runs on can look while it is busy.
    with contextlib.suppress(psycopg.errors.InvalidParameterValue):
        connection.execute(_LOOK_FOR_CLIENT)
