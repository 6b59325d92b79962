"""The database that SQL traits are read from: engage-sync's own, or another Postgres. Never written to.

A connection of its own, in a read-only transaction; the statement stands in parentheses behind a SELECT, so that it can
be nothing but one query. As pg_read_all_data, where that may be had: a superuser's connection could read files as well.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import orjson
import psycopg
from psycopg.types.json import set_json_loads
from pydantic import SecretStr
from sqlalchemy.engine import make_url

from engage_sync import errors
from engage_sync.definitions import statements

ID_COLUMNS = ("user_id", "email")
MOST_COLUMNS = 100
MOST_ROWS = 5_000_000
# What a destination takes in one call.
MOST_BYTES = 32_000
_FETCHED = 5_000
_BEFORE = "SELECT * FROM (\n"
_AFTER = "\n) AS engage_rows"
_WHOLE = {"int2", "int4", "int8", "oid"}
_NUMBERS = {"float4", "float8", "numeric"}
_TEXTS = {"text", "varchar", "bpchar", "name", "uuid", "citext"}
_AS_THEY_ARE = {"bool", "json", "jsonb", "date", "timestamp", "timestamptz"}


@dataclass(frozen=True, slots=True)
class Row:
    """One person's row: the identifier, and the other columns as the text of a JSON object."""

    identifier: str
    value: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Warehouse:
    """Where SQL traits are read. `patience`: seconds that a statement may take; `most_rows` that it may give."""

    url: SecretStr
    patience: float = 600.0
    most_rows: int = MOST_ROWS
    stopping: threading.Event | None = None

    def describe(self, sql: str) -> tuple[str, ...]:
        """The columns of a statement besides the identifier's. Raises errors.ComputationFailed."""
        with self._transaction() as connection, _told(sql):
            # Prepared, as what is executed at once may be several statements, COMMIT among them.
            cursor = connection.execute(
                f"{_BEFORE}{statements.without_end(sql)}{_AFTER} LIMIT 0".encode(), prepare=True
            )
            return _columns(connection, cursor.description or ())[1]

    @contextlib.contextmanager
    def read(self, sql: str, columns: Sequence[str], gone: Sequence[str]) -> Iterator[tuple[str, Iterator[Row]]]:
        """(type of identifier, rows) of a statement, with null for what is `gone`; rows are read as they are taken.

        Raises errors.ComputationFailed: where it writes, takes too long, or gives what no trait can be.
        """
        statement = f"{_BEFORE}{statements.without_end(sql)}{_AFTER}"
        declared = 'DECLARE "engage_rows" CURSOR FOR '
        with self._transaction() as connection, _told(sql, declared), connection.cursor(name="engage_rows") as cursor:
            cursor.itersize = _FETCHED
            cursor.execute(statement.encode())
            identifier, found = _columns(connection, cursor.description or ())
            if set(found) != set(columns):
                raise errors.ComputationFailed(
                    f"Its columns are {', '.join(found)}, and were {', '.join(columns)} when it was applied."
                    " Apply it again: engage-sync apply"
                )
            yield identifier, self._rows(connection, cursor, sql, identifier, gone)

    def _rows(
        self, connection: psycopg.Connection[Any], cursor: Any, sql: str, identifier: str, gone: Sequence[str]
    ) -> Iterator[Row]:
        names = [column.name for column in cursor.description]
        numbers = {column.name for column in cursor.description if _type(connection, column.type_code)[0] in _NUMBERS}
        place = names.index(identifier)
        nothing = dict.fromkeys(gone)
        until = time.monotonic() + self.patience
        with _told(sql):
            for number, values in enumerate(cursor, 1):
                if number > self.most_rows:
                    raise errors.ComputationFailed(
                        f"It gives more than {self.most_rows:,} rows (ENGAGE_SYNC_SQL_ROWS). Narrow it."
                    )
                if time.monotonic() > until:
                    raise errors.ComputationFailed(_TOO_LONG.format(self.patience))
                who = values[place]
                if who is None or not str(who).strip():
                    raise errors.ComputationFailed(f"Row {number} has no {identifier}.")
                row = {name: _value(each, name in numbers) for name, each in zip(names, values, strict=True)}
                del row[identifier]
                text = orjson.dumps({**nothing, **row}, default=_plain, option=orjson.OPT_UTC_Z)
                if len(text) > MOST_BYTES:
                    raise errors.ComputationFailed(
                        f"Row {number} ({identifier} {str(who)[:60]!r}) has {len(text):,} bytes;"
                        f" at most {MOST_BYTES:,} can be told in one call."
                    )
                given = str(who).strip()
                # A text of JSON may hold what Postgres's own JSON can't.
                yield Row(given.lower() if identifier == "email" else given, text.decode().replace("\\u0000", ""))

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[psycopg.Connection[Any]]:
        try:
            connection: psycopg.Connection[Any] = psycopg.connect(
                make_url(self.url.get_secret_value())
                .set(drivername="postgresql")
                .render_as_string(hide_password=False),
                application_name="engage-sync sql traits",
                connect_timeout=10,
                options=f"-c timezone=UTC -c default_transaction_read_only=on"
                f" -c statement_timeout={math.ceil(self.patience * 1000)}",
            )
        except psycopg.OperationalError as failure:
            reason = str(failure).strip().splitlines()[0]
            raise errors.ComputationFailed(f"The database that it reads can't be reached: {reason}") from failure
        done = threading.Event()
        try:
            set_json_loads(orjson.loads, connection)
            connection.read_only = True
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            # Begins the transaction, so that what may fail is a savepoint's.
            connection.execute("SELECT 1")
            with contextlib.suppress(psycopg.Error), connection.transaction():
                connection.execute("SET LOCAL ROLE pg_read_all_data")
            if self.stopping is not None:
                threading.Thread(target=_cancel_at, args=(connection, self.stopping, done), daemon=True).start()
            yield connection
        finally:
            done.set()
            connection.close()


_TOO_LONG = (
    "It took longer than {:g} seconds (ENGAGE_SYNC_COMPUTE_TIMEOUT). Narrow it, give it an index, or give it more time."
)


@contextlib.contextmanager
def _told(sql: str, before: str = "") -> Iterator[None]:
    """What the database says of the statement, in its own lines; `before` stands before it."""
    try:
        yield
    except psycopg.errors.QueryCanceled as failure:
        raise errors.ComputationFailed(
            "It took too long, or the process was stopped (ENGAGE_SYNC_COMPUTE_TIMEOUT)."
        ) from failure
    except psycopg.Error as failure:
        reason = (failure.diag.message_primary or str(failure) or type(failure).__name__).strip().splitlines()[0]
        position = int(failure.diag.statement_position or 0) - len(before) - len(_BEFORE) - 1
        if 0 <= position < len(sql):
            lines = sql[:position].split("\n")
            reason += f" (line {len(lines)}, column {len(lines[-1]) + 1} of its sql)"
        raise errors.ComputationFailed(f"Its SQL can't be read: {reason}") from failure


def _columns(connection: psycopg.Connection[Any], description: Sequence[Any]) -> tuple[str, tuple[str, ...]]:
    """(the identifier's column, the other columns)."""
    names = [column.name for column in description]
    identifiers = [name for name in names if name in ID_COLUMNS]
    if len(identifiers) != 1:
        found = f"; found {' and '.join(identifiers)}" if identifiers else f"; found {', '.join(names) or 'none'}"
        raise errors.ComputationFailed(f"Expected exactly one of the columns user_id and email{found}.")
    others = tuple(name for name in names if name != identifiers[0])
    if not others:
        raise errors.ComputationFailed(f"Expected a column besides {identifiers[0]}, to become a trait.")
    if len(others) > MOST_COLUMNS:
        raise errors.ComputationFailed(f"Found {len(others)} columns, expected at most {MOST_COLUMNS}.")
    twice = sorted({name for name in others if others.count(name) > 1})
    if twice:
        raise errors.ComputationFailed(f"Two columns are named {twice[0]}; name them apart with AS.")
    for column in description:
        type_, _ = _type(connection, column.type_code)
        if column.name == "?column?":
            raise errors.ComputationFailed("A column has no name; name it with AS.")
        if column.name not in ID_COLUMNS and type_ not in _WHOLE | _NUMBERS | _TEXTS | _AS_THEY_ARE:
            raise errors.ComputationFailed(
                f"Column {column.name} is of type {type_}, which no trait can be; cast it, as in {column.name}::text."
            )
    return identifiers[0], others


def _type(connection: psycopg.Connection[Any], oid: int) -> tuple[str, bool]:
    """(the name of a type or of an array's elements, whether it is an array)."""
    info = connection.adapters.types.get(oid)
    if info is None:
        row = connection.execute("SELECT typname, typtype FROM pg_type WHERE oid = %s", (oid,)).fetchone()
        # An enum's values are texts.
        return ("text" if row and row[1] == "e" else row[0] if row else str(oid)), False
    return info.name, info.array_oid == oid


def _value(value: Any, is_number: bool) -> Any:
    """Numbers that may have a fraction always have one, as a destination fixes a field's type for ever."""
    if isinstance(value, list):
        return [_value(each, is_number) for each in value]
    if is_number and value is not None:
        read = float(value)
        if not math.isfinite(read):
            raise errors.ComputationFailed(f"Found {value}, which is no number that JSON knows; use NULLIF or CASE.")
        return read
    return value


def _plain(value: Any) -> Any:
    match value:
        case Decimal():
            return float(value)
        case datetime():
            return value.astimezone(UTC)
        case date():
            return value.isoformat()
        case _:
            return str(value)


def _cancel_at(connection: psycopg.Connection[Any], stopping: threading.Event, done: threading.Event) -> None:
    while not done.wait(0.2):
        if stopping.is_set():
            with contextlib.suppress(psycopg.Error):
                connection.cancel()
