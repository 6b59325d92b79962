"""The rows of an SQL trait, brought to the people they are about: what "everybody's value" is for it.

Writes the session's own tables `engage_rows` and `engage_row_of`. Rows of people who aren't known are left out; they
count from the next reading on, once their identifier came.
"""

from __future__ import annotations

import structlog
from sqlalchemy import Connection, text

from engage_sync import errors
from engage_sync.database import pipeline
from engage_sync.definitions.language import tree
from engage_sync.evaluation.compiler import Evaluation
from engage_sync.evaluation.warehouse import Warehouse

log = structlog.get_logger(__name__)

_TABLES = (
    text('CREATE TEMPORARY TABLE IF NOT EXISTS engage_rows (identifier text COLLATE "C", value jsonb)'),
    text(
        "CREATE TEMPORARY TABLE IF NOT EXISTS engage_row_of"
        " (profile_id bigint, identifier text, value jsonb, matched_by text)"
    ),
    text("DROP INDEX IF EXISTS pg_temp.engage_row_of_profile_id"),
    text("TRUNCATE engage_rows, engage_row_of"),
)
_COPY = "COPY engage_rows (identifier, value) FROM STDIN"
_TWICE = text("SELECT identifier, count(*) FROM engage_rows GROUP BY identifier HAVING count(*) > 1 ORDER BY 1 LIMIT 1")
_RESOLVE = text(
    """
    INSERT INTO engage_row_of (profile_id, identifier, value, matched_by)
    SELECT identities.profile_id, engage_rows.identifier, engage_rows.value, :type || ':' || engage_rows.identifier
    FROM engage_rows JOIN identities ON identities.type = :type AND identities.value = engage_rows.identifier
    """
)
_ONE_PERSON = text(
    """
    SELECT min(identifier) AS one, max(identifier) AS other FROM engage_row_of
    GROUP BY profile_id HAVING count(*) > 1 ORDER BY 1 LIMIT 1
    """
)
_PREPARED = (
    # Batches of people look up their rows.
    text("CREATE INDEX engage_row_of_profile_id ON engage_row_of (profile_id)"),
    text("ANALYZE engage_row_of"),
)
_READ = Evaluation(sql="SELECT profile_id, value FROM engage_row_of", parameters={})


def stage(connection: Connection, warehouse: Warehouse | None, rows: tree.SqlRows) -> Evaluation:
    """Read a statement's rows and bring them to people; the evaluation reads them from there, in this transaction.

    Raises errors.ComputationFailed: where the statement can't be read, or gives two rows for one person.
    """
    if warehouse is None:
        raise errors.ComputationFailed("There is no database to read SQL traits from.")
    for statement in _TABLES:
        connection.execute(statement)
    with (
        warehouse.read(rows.sql, rows.columns, rows.gone) as (type_, found),
        pipeline.past_sqlalchemy(connection, _COPY) as driver,
        driver.cursor().copy(_COPY) as copy,
    ):
        for row in found:
            copy.write_row((row.identifier, row.value))
    twice = connection.execute(_TWICE).first()
    if twice is not None:
        raise errors.ComputationFailed(f"It gives {twice.count} rows for {type_} {twice.identifier!r}, expected one.")
    known = connection.execute(_RESOLVE, {"type": type_}).rowcount
    for statement in _PREPARED:
        connection.execute(statement)
    same = connection.execute(_ONE_PERSON).first()
    if same is not None:
        raise errors.ComputationFailed(
            f"It gives two rows for one person, {type_} {same.one!r} and {same.other!r}, expected one."
        )
    total = connection.execute(text("SELECT count(*) FROM engage_rows")).scalar_one()
    if total > known:
        log.info("sql_rows_of_nobody_known", rows=total - known, of=total)
    return _READ
