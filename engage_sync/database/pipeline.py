"""Several statements in one round trip, for the hot paths: the server works through them while we wait once.

Past SQLAlchemy's execution, as COPY is: what it does for each statement costs more than most of these statements
themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Generic, TypeVar

import sqlalchemy.exc
from psycopg import Error
from psycopg.rows import namedtuple_row
from sqlalchemy import Connection, TextClause
from sqlalchemy.dialects import postgresql

from engage_sync.database import arrays

T = TypeVar("T")
# Named tuples: a statement names its columns apart.
Rows = Sequence[Any]
_DIALECT = postgresql.psycopg.dialect()  # type: ignore[no-untyped-call]
_FIRST = "engage_sync.first"


@dataclass(frozen=True, slots=True)
class Query(Generic[T]):
    """A statement with its parameters, and how its rows are read.

    `statement` has parameters as :name where it is a clause of SQLAlchemy's, as %(name)s where it is a text. It says of
    which type an array is, as in CAST(:ids AS bigint[]).
    """

    statement: TextClause | str
    parameters: Mapping[str, Any]
    read: Callable[[Rows], T]


def nothing(_rows: Rows) -> None:
    """Reads a statement that is run for what it does."""


@contextmanager
def beginning(connection: Connection, query: Query[None]) -> Iterator[None]:
    """Within the block, the first round trip begins with this query, which so costs none of its own."""
    connection.info[_FIRST] = query
    try:
        yield
    finally:
        connection.info.pop(_FIRST, None)


def ask(connection: Connection, query: Query[T]) -> T:
    """What one query says. Raises sqlalchemy's DBAPIError like any other statement."""
    answer: T = ask_each(connection, [query])[0]
    return answer


def rows(connection: Connection, statement: TextClause, parameters: Mapping[str, Any]) -> list[Any]:
    """The rows of one statement, with their columns as attributes."""
    return ask(connection, Query(statement, parameters, list))


def ask_each(connection: Connection, queries: Sequence[Query[Any]]) -> list[Any]:
    """What each query says, run in this order in the connection's transaction, in one round trip.

    Raises sqlalchemy's DBAPIError like any other statement.
    """
    if not queries:
        return []
    if not connection.in_transaction():
        connection.begin()
    driver: Any = connection.connection.driver_connection
    first: Query[None] | None = connection.info.pop(_FIRST, None)
    cursors: list[Any] = []
    try:
        with driver.pipeline():
            if first is not None:
                driver.execute(_text(first.statement), _given(first.parameters))
            for query in queries:
                cursor = driver.cursor(row_factory=namedtuple_row)
                cursors.append(cursor.execute(_text(query.statement), _given(query.parameters)))
        # Only after the pipeline is through, a cursor knows whether its statement gives rows.
        found = [cursor.fetchall() if cursor.description else [] for cursor in cursors]
    except Error as failure:
        statement = _text(queries[min(len(cursors), len(queries)) - 1].statement)
        raise _as_elsewhere(connection, statement, failure) from failure
    return [query.read(answer) for query, answer in zip(queries, found, strict=True)]


@contextmanager
def past_sqlalchemy(connection: Connection, statement: str) -> Iterator[Any]:
    """The driver's connection, for what goes only there, as COPY does. Raises sqlalchemy's DBAPIError all the same."""
    try:
        yield connection.connection.driver_connection
    except Error as failure:
        raise _as_elsewhere(connection, statement, failure) from failure


def _as_elsewhere(connection: Connection, statement: str, failure: Error) -> BaseException:
    driver: Any = connection.connection.driver_connection
    return sqlalchemy.exc.DBAPIError.instance(
        statement,
        None,
        failure,
        Error,
        hide_parameters=True,
        connection_invalidated=driver.closed,
        dialect=connection.dialect,
    )


@lru_cache(maxsize=512)
def _clause_text(clause: TextClause) -> str:
    return str(clause.compile(dialect=_DIALECT))


def _given(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {name: arrays.literal(value) if isinstance(value, list) else value for name, value in parameters.items()}


def _text(statement: TextClause | str) -> str:
    return statement if isinstance(statement, str) else _clause_text(statement)
