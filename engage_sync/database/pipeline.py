"""Several statements in one round trip, for the hot paths: the server works through them while we wait once.

Past SQLAlchemy, as COPY is: what it does for each statement costs more than most of these statements themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy.exc
from psycopg import Error
from sqlalchemy import Connection

Statement = tuple[str, Mapping[str, Any]]


def fetch_each(connection: Connection, statements: Sequence[Statement]) -> list[list[tuple[Any, ...]]]:
    """The rows of each statement, run in this order in the connection's transaction.

    Statements have parameters as %(name)s. Raises sqlalchemy's DBAPIError like any other statement.
    """
    if not connection.in_transaction():
        connection.begin()
    driver: Any = connection.connection.driver_connection
    cursors = []
    try:
        with driver.pipeline():
            for sql, parameters in statements:
                cursors.append(driver.cursor().execute(sql, parameters))
            return [cursor.fetchall() for cursor in cursors]
    except Error as failure:
        sql = statements[min(len(cursors), len(statements)) - 1][0]
        raise sqlalchemy.exc.DBAPIError.instance(
            sql,
            None,
            failure,
            Error,
            hide_parameters=True,
            connection_invalidated=driver.closed,
            dialect=connection.dialect,
        ) from failure
