"""Snapshots as they would have been, for a past that is only supposed: tables of one session, which end with it.

Reads `events`, `account_members`, and whatever an evaluation reads; writes `engage_past` and `engage_past_dirty`, both
temporary. Nothing here touches or locks a snapshot that anybody else sees: it all runs in transactions that Postgres
keeps read-only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from sqlalchemy import Connection, text

from engage_sync.evaluation.compiler import Evaluation, compile_as_if
from engage_sync.evaluation.windows import Crossing
from engage_sync.snapshots import differences
from engage_sync.snapshots.differences import Tally

PAST = Evaluation(sql="SELECT profile_id, definition_id, value FROM engage_past", parameters={})
"""What is read in place of `snapshots`."""
_CREATE = (
    "DROP TABLE IF EXISTS pg_temp.engage_past, pg_temp.engage_past_dirty",
    """
    CREATE TEMPORARY TABLE engage_past (
      definition_id integer NOT NULL,
      profile_id bigint NOT NULL,
      value jsonb NOT NULL,
      PRIMARY KEY (definition_id, profile_id)
    ) WITH (fillfactor = 80)
    """,
    """
    CREATE TEMPORARY TABLE engage_past_dirty (
      definition_id integer NOT NULL,
      profile_id bigint NOT NULL,
      PRIMARY KEY (definition_id, profile_id)
    ) ON COMMIT DELETE ROWS
    """,
)
_CROSSED = text(
    """
    INSERT INTO engage_past_dirty (definition_id, profile_id)
    SELECT DISTINCT CAST(:definition AS integer), event.profile_id
    FROM unnest(CAST(:names AS text[]), CAST(:starts AS timestamptz[]), CAST(:ends AS timestamptz[]))
      AS crossing (name, start_at, end_at)
    CROSS JOIN LATERAL (
      SELECT profile_id FROM events
      WHERE events.name = crossing.name AND events.timestamp >= crossing.start_at AND events.timestamp < crossing.end_at
    ) AS event
    ON CONFLICT DO NOTHING
    """
)
_WIDEN = text(
    """
    INSERT INTO engage_past_dirty (definition_id, profile_id)
    SELECT DISTINCT CAST(:definition AS integer), peer.profile_id
    FROM account_members AS peer
    WHERE peer.account_id IN (
      SELECT mine.account_id FROM engage_past_dirty JOIN account_members AS mine USING (profile_id)
      WHERE engage_past_dirty.definition_id = :definition
    )
    ON CONFLICT DO NOTHING
    """
)
_COUNT = text("SELECT count(*) FROM engage_past_dirty WHERE definition_id = :definition")
_NEXT = text(
    """
    SELECT profile_id FROM engage_past_dirty
    WHERE definition_id = :definition AND profile_id > :last ORDER BY profile_id LIMIT :limit
    """
)
# What differs is counted, written down and passed on to those that refer to the definition, in one statement.
_SETTLE = """
WITH difference AS MATERIALIZED ({difference}), gone AS (
  DELETE FROM engage_past USING difference
  WHERE engage_past.definition_id = %(engage_definition)s AND engage_past.profile_id = difference.profile_id
    AND difference.after IS NULL
), kept AS (
  INSERT INTO engage_past (definition_id, profile_id, value)
  SELECT %(engage_definition)s, profile_id, after::jsonb FROM difference WHERE after IS NOT NULL ORDER BY profile_id
  ON CONFLICT (definition_id, profile_id) DO UPDATE SET value = excluded.value
), passed AS (
  INSERT INTO engage_past_dirty (definition_id, profile_id)
  SELECT referrer, profile_id FROM difference CROSS JOIN unnest(%(engage_referrers)s::integer[]) AS referrer
  ON CONFLICT DO NOTHING
), counted AS (
  SELECT coalesce(before = %(engage_left)s::jsonb::text, before IS NULL) AS was_out,
         coalesce(after = %(engage_left)s::jsonb::text, after IS NULL) AS is_out
  FROM difference
)
SELECT count(*) FILTER (WHERE was_out AND NOT is_out) AS entered,
       count(*) FILTER (WHERE is_out AND NOT was_out) AS exited,
       count(*) FILTER (WHERE was_out = is_out) AS changed
FROM counted
"""


@contextmanager
def prepared(connection: Connection) -> Iterator[None]:
    """The session's empty tables, gone at the end. Outside of any transaction."""
    with connection.begin():
        for statement in _CREATE:
            connection.exec_driver_sql(statement)
    try:
        yield
    finally:
        if not connection.closed and not connection.invalidated:
            connection.rollback()
            with connection.begin():
                connection.exec_driver_sql(_CREATE[0])


def cross(connection: Connection, definition: int, crossings: Sequence[Crossing], *, of_accounts: bool = False) -> int:
    """Add whose events crossed an edge to those who are to be looked at; how many these are then.

    `of_accounts`: whoever shares an account with one of them is to be looked at, too.

    The list lasts as long as the transaction.
    """
    given = {
        "definition": definition,
        "names": [crossing.event for crossing in crossings],
        "starts": [crossing.start for crossing in crossings],
        "ends": [crossing.end for crossing in crossings],
    }
    connection.execute(_CROSSED, given)
    if of_accounts:
        connection.execute(_WIDEN, {"definition": definition})
    return int(connection.execute(_COUNT, {"definition": definition}).scalar_one())


def pages(connection: Connection, definition: int, size: int) -> Iterator[list[int]]:
    """Those who are to be looked at, in the order of their ids, at most `size` at a time."""
    last = 0
    while True:
        given = {"definition": definition, "last": last, "limit": size}
        found = list(connection.execute(_NEXT, given).scalars())
        if found:
            yield found
            last = found[-1]
        if len(found) < size:
            return


def settle(
    connection: Connection,
    evaluation: Evaluation,
    *,
    definition: int,
    is_audience: bool,
    as_of: datetime,
    profiles: Sequence[int] | None,
    referrers: Sequence[int],
) -> Tally:
    """Evaluate everybody (`profiles` None) or some as of an instant, and keep what differs from before.

    Whoever changed is then to be looked at for the `referrers`.
    """
    live = Evaluation(
        sql=differences.statement(evaluation.sql, is_scoped=profiles is not None),
        parameters=differences.arguments(evaluation, definition, is_audience, as_of, profiles),
    )
    difference = compile_as_if(live, PAST)
    given = {**difference.parameters, "engage_referrers": list(referrers)}
    row = connection.exec_driver_sql(_SETTLE.replace("{difference}", difference.sql), given).one()
    return Tally(entered=row.entered, exited=row.exited, changed=row.changed)


def analyze(connection: Connection) -> None:
    """Tell the planner how much there is: nobody else does so for a session's own tables."""
    connection.exec_driver_sql("ANALYZE engage_past")
