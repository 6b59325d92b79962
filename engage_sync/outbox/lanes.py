"""Giving lanes back: closed when nothing waits in them any more, else due again.

Writes `lanes`. Nothing may be stranded: a message without a lane is never sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from engage_sync.database import channels, pipeline
from engage_sync.database.pipeline import Query, Rows


@dataclass(frozen=True, slots=True)
class Leaving:
    """A lane to give back; `due_at` (the database's clock) is when its next message may go, None for at once.

    `rest`: not for so many seconds from now.
    """

    profile_id: int
    due_at: datetime | None = None
    rest: float = 0.0


@dataclass(frozen=True, slots=True)
class Released:
    """What became of them, by profile. `held` are still ours and locked by an enqueuer: try again next turn."""

    closed: set[int]
    waiting: set[int]
    held: set[int]


# First the lock, then, in a statement of its own with a newer snapshot, the look whether messages remain. In one
# statement, or the other way round, an enqueuer could commit a message between the look and the lock, find its lane
# open, and have it closed under its message. Enqueuers hold a lane for as long as their transaction: not waited for.
_LOCK = text(
    """
    SELECT lanes.profile_id FROM lanes
    WHERE destination_id = :destination AND profile_id = ANY(CAST(:profiles AS bigint[])) AND worker_id = :worker
    ORDER BY lanes.profile_id, lanes.destination_id
    FOR UPDATE SKIP LOCKED
    """
)
_CLOSE = text(
    """
    DELETE FROM lanes
    WHERE destination_id = :destination AND profile_id = ANY(CAST(:profiles AS bigint[]))
      AND NOT EXISTS (
        SELECT FROM messages
        WHERE messages.profile_id = lanes.profile_id AND messages.destination_id = lanes.destination_id
      )
    RETURNING profile_id
    """
)
# A request without an answer may be on its way until its time is over: nothing of that person goes before.
_WAIT = text(
    """
    UPDATE lanes
    SET worker_id = NULL,
        due_at = greatest(coalesce(leaving.due_at, clock_timestamp() + leaving.rest * interval '1 second'), (
          SELECT max(messages.started_at) + CAST(:timeout AS float8) * interval '1 second' FROM messages
          WHERE messages.profile_id = lanes.profile_id AND messages.destination_id = lanes.destination_id
        ))
    FROM unnest(CAST(:profiles AS bigint[]), CAST(:due AS timestamptz[]), CAST(:rests AS float8[]))
      AS leaving (profile_id, due_at, rest)
    WHERE lanes.destination_id = :destination AND lanes.profile_id = leaving.profile_id
    RETURNING lanes.profile_id
    """
)
_STILL_OURS = text(
    """
    SELECT profile_id FROM lanes
    WHERE destination_id = :destination AND profile_id = ANY(CAST(:profiles AS bigint[])) AND worker_id = :worker
    """
)
_OPEN = text(
    """
    INSERT INTO lanes (profile_id, destination_id, priority)
    SELECT DISTINCT profile_id, destination_id, CAST(:priority AS smallint)
    FROM unnest(CAST(:profiles AS bigint[]), CAST(:destinations AS smallint[])) AS lane (profile_id, destination_id)
    ORDER BY profile_id, destination_id
    ON CONFLICT (profile_id, destination_id) DO UPDATE SET priority = least(lanes.priority, excluded.priority)
    """
)


def locking(destination_id: int, worker_id: int, profiles: Sequence[int]) -> Query[set[int]]:
    """Locks lanes until the transaction ends, before they are released; says of which profiles it could."""
    given = {"destination": destination_id, "worker": worker_id, "profiles": list(profiles)}
    return Query(_LOCK, given, _profiles)


def release(
    connection: Connection,
    destination_id: int,
    worker_id: int,
    leaving: Sequence[Leaving],
    timeout: float,
    *,
    locked: set[int] | None = None,
) -> Released:
    """Give lanes back. Those that aren't ours any more are in none of the answer's sets.

    `timeout` is how long a started request may live, in seconds. `locked`: the answer to `locking` in this transaction,
    where it was asked already.
    """
    if locked is None:
        locked = pipeline.ask(connection, locking(destination_id, worker_id, [lane.profile_id for lane in leaving]))
    going = [lane for lane in leaving if lane.profile_id in locked]
    unlocked = [lane.profile_id for lane in leaving if lane.profile_id not in locked]
    queries: list[Query[set[int]]] = []
    if unlocked:
        given = {"destination": destination_id, "worker": worker_id, "profiles": unlocked}
        queries.append(Query(_STILL_OURS, given, _profiles))
    if going:
        profiles = [lane.profile_id for lane in going]
        staying = {
            "profiles": profiles,
            "due": [lane.due_at for lane in going],
            "rests": [lane.rest for lane in going],
        }
        queries.append(Query(_CLOSE, {"destination": destination_id, "profiles": sorted(profiles)}, _profiles))
        # Of those that are still there.
        queries.append(Query(_WAIT, {"destination": destination_id, "timeout": timeout, **staying}, _profiles))
    answers = pipeline.ask_each(connection, queries)
    held = answers.pop(0) if unlocked else set()
    closed, waiting = answers if going else (set(), set())
    return Released(closed=closed, waiting=waiting, held=held)


def _profiles(rows: Rows) -> set[int]:
    return {row.profile_id for row in rows}


_HURRY = text(
    """
    UPDATE lanes
    SET due_at = greatest(clock_timestamp(), (
      SELECT max(messages.started_at) + CAST(:timeout AS float8) * interval '1 second' FROM messages
      WHERE messages.profile_id = lanes.profile_id AND messages.destination_id = lanes.destination_id
    ))
    WHERE destination_id = ANY(CAST(:destinations AS smallint[])) AND worker_id IS NULL AND due_at > clock_timestamp()
    RETURNING profile_id
    """
)


def hurry(connection: Connection, destinations: Sequence[int], timeout: float) -> int:
    """What waits for its next attempt is due at once; returns how many lanes.

    Where the answer to the last request is unknown, as soon as that can't be on its way any more (`timeout` seconds).
    """
    found = pipeline.rows(connection, _HURRY, {"destinations": list(destinations), "timeout": timeout})
    channels.notify(connection, channels.OUTBOX)
    return len(found)


def open_lanes(connection: Connection, lanes: Sequence[tuple[int, int]], priority: int) -> None:
    """Make sure that there is a lane for each (profile, destination). One that waits for its retry keeps waiting."""
    if lanes:
        given = {"profiles": [lane[0] for lane in lanes], "destinations": [lane[1] for lane in lanes]}
        connection.execute(_OPEN, {**given, "priority": priority})
