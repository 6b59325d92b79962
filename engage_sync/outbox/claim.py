"""Taking what is due: lanes first, so that a person has one worker, then what waits in them.

Writes `lanes` and `messages`. A worker sends nothing that `start` didn't return, committed, before.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy import Connection, text

from engage_sync.database import pipeline
from engage_sync.database.pipeline import Query, Rows
from engage_sync.messages.message import Message, Subject
from engage_sync.outbox.enqueue import Priority
from engage_sync.outbox.outages import time_held
from engage_sync.profiles.companion import user_id_of

# What is loaded of one person at once; the rest goes back to the end of the queue, so that nobody holds a worker.
MESSAGES_A_LANE = 20


class Leased(Protocol):
    """A lane that is ours. `late`: for how many seconds it had been due."""

    profile_id: int
    priority: int
    due_at: datetime
    late: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ClaimedLane:
    """A person's messages, in order; ours until released. `has_more`: not everything was loaded.

    `late`: for how many seconds it had been due.
    """

    profile_id: int
    destination_id: int
    priority: int
    late: float
    messages: tuple[Message, ...]
    has_more: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Started:
    """A message that may be sent now; instants are the database's. `attempts` includes this one.

    `first_started_at` is moved by the time for which the destination was held since.
    """

    attempts: int
    first_started_at: datetime
    started_at: datetime


# One priority at a time: a scan over several would walk through every lane of the first that waits for a retry. The
# limit is a plain parameter: for an expression the planner expects a tenth of the table, and sorts it.
# statement_timestamp(), as an index can't be asked for a clock that moves.
_LEASE = text(
    """
    WITH due AS MATERIALIZED (
      SELECT lanes.profile_id, lanes.destination_id FROM lanes
      WHERE destination_id = :destination AND worker_id IS NULL AND priority = :priority
        AND due_at <= statement_timestamp()
        AND EXISTS (SELECT FROM destinations WHERE id = :destination AND paused_at IS NULL)
        AND (CAST(:is_probe AS boolean)
             OR NOT EXISTS (SELECT FROM outages WHERE destination_id = :destination AND until IS NULL))
        AND EXISTS (SELECT FROM workers WHERE id = :worker)
      ORDER BY due_at LIMIT :limit
      FOR NO KEY UPDATE OF lanes SKIP LOCKED
    )
    UPDATE lanes SET worker_id = :worker
    FROM due
    WHERE lanes.profile_id = due.profile_id AND lanes.destination_id = due.destination_id
    RETURNING lanes.profile_id, lanes.priority, lanes.due_at,
              extract(epoch FROM clock_timestamp() - lanes.due_at)::float8 AS late
    """
)
# Whether there is anything less urgent: seldom both, and mostly neither.
_DUE = text(
    """
    SELECT EXISTS (SELECT FROM lanes WHERE destination_id = :destination AND worker_id IS NULL AND priority = 1
                     AND due_at <= statement_timestamp()) AS tick,
           EXISTS (SELECT FROM lanes WHERE destination_id = :destination AND worker_id IS NULL AND priority = 2
                     AND due_at <= statement_timestamp()) AS first
    """
)
# One person's lane alone, as the lease above takes any.
_LEASE_ONE = text(
    """
    WITH due AS MATERIALIZED (
      SELECT lanes.profile_id, lanes.destination_id FROM lanes
      WHERE profile_id = :profile AND destination_id = :destination AND worker_id IS NULL
        AND due_at <= statement_timestamp()
        AND EXISTS (SELECT FROM destinations WHERE id = :destination AND paused_at IS NULL)
        AND (CAST(:is_probe AS boolean)
             OR NOT EXISTS (SELECT FROM outages WHERE destination_id = :destination AND until IS NULL))
        AND EXISTS (SELECT FROM workers WHERE id = :worker)
      FOR NO KEY UPDATE OF lanes SKIP LOCKED
    )
    UPDATE lanes SET worker_id = :worker
    FROM due
    WHERE lanes.profile_id = due.profile_id AND lanes.destination_id = due.destination_id
    RETURNING lanes.profile_id, lanes.priority, lanes.due_at,
              extract(epoch FROM clock_timestamp() - lanes.due_at)::float8 AS late
    """
)
# Whether somebody is suppressed is looked up by key: for an EXISTS the planner reads all who are.
_LOAD = text(
    f"""
    SELECT message.id, message.profile_id, message.definition_id, message.identity_type, message.identity_value,
           message.call_type, message.value, message.told_version, message.as_of, identity.value AS user_id,
           definitions.public_id, definitions.kind, definitions.key, version.document -> 'sql' IS NOT NULL AS is_row,
           message.call, sources.slug AS source,
           message.call_type <> 'forget' AND (
             SELECT true FROM suppressed_profiles AS silent WHERE silent.profile_id = message.profile_id
           ) IS NOT NULL AS is_suppressed,
           CASE WHEN message.call_type = 'track'
             THEN version.document #> ARRAY['destinations', destinations.slug, 'track'] END AS track
    FROM unnest(CAST(:profiles AS bigint[])) AS lane (profile_id)
    CROSS JOIN LATERAL (
      SELECT * FROM messages
      WHERE messages.profile_id = lane.profile_id AND messages.destination_id = :destination
      ORDER BY messages.id LIMIT :messages
    ) AS message
    JOIN destinations ON destinations.id = message.destination_id
    LEFT JOIN sources ON sources.id = message.source_id
    LEFT JOIN definitions ON definitions.id = message.definition_id
    LEFT JOIN definition_versions AS version
      ON version.definition_id = message.definition_id AND version.version = message.definition_version
    LEFT JOIN LATERAL ({user_id_of("message.profile_id", "message.identity_type", "message.identity_value")})
      AS identity ON true
    ORDER BY message.profile_id, message.id
    """  # noqa: S608 - names of columns
)
# The worker's row is locked so that whoever takes over a dead worker's lanes sees either this start or none ever. Rows
# that somebody else holds (an identify just being replaced) are not waited for. A message that was started before is
# started again when its first request can't be on its way any more, or when the caller knows that none was sent.
_START = text(
    """
    WITH worker AS MATERIALIZED (
      SELECT id FROM workers WHERE id = :worker FOR KEY SHARE
    ), startable AS MATERIALIZED (
      SELECT messages.id, wanted.again
      FROM unnest(CAST(:ids AS bigint[]), CAST(:profiles AS bigint[]), CAST(:again AS boolean[]),
                  CAST(:are_probes AS boolean[])) AS wanted (id, profile_id, again, is_probe)
      JOIN messages ON messages.id = wanted.id AND messages.profile_id = wanted.profile_id
      JOIN lanes ON lanes.profile_id = messages.profile_id AND lanes.destination_id = messages.destination_id
      JOIN worker ON worker.id = lanes.worker_id
      JOIN destinations ON destinations.id = messages.destination_id AND destinations.paused_at IS NULL
      WHERE (messages.started_at IS NULL OR wanted.again
             OR messages.started_at <= clock_timestamp() - CAST(:timeout AS float8) * interval '1 second')
        AND (messages.call_type = 'forget' OR (
          SELECT true FROM suppressed_profiles AS silent WHERE silent.profile_id = messages.profile_id
        ) IS NULL)
        AND (wanted.is_probe OR NOT EXISTS (
          SELECT FROM outages WHERE outages.destination_id = messages.destination_id AND outages.until IS NULL
        ))
      FOR NO KEY UPDATE OF messages SKIP LOCKED
    ), clock AS MATERIALIZED (
      SELECT clock_timestamp() AS now
    )
    UPDATE messages
    SET started_at = clock.now, first_started_at = coalesce(messages.first_started_at, clock.now), in_bulk = :in_bulk,
        -- No more than the column holds; by then the message is about to be a dead letter anyway.
        attempts = least(messages.attempts + CASE WHEN startable.again THEN 0 ELSE 1 END, 32767)
    FROM startable, clock WHERE messages.id = startable.id
    -- The time for which the destination was held doesn't count.
    RETURNING messages.id, messages.attempts, messages.started_at, messages.first_started_at
      + CASE WHEN messages.attempts > 1 THEN
    """  # noqa: S608 - names of columns
    + time_held("messages.destination_id", "messages.first_started_at", "clock.now")
    + " ELSE interval '0' END AS first_started_at"
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A message to be started. `again`: it is started already and its next request was not sent yet.

    `is_probe`: also to a destination that is held.
    """

    id: int
    profile_id: int
    again: bool = False
    is_probe: bool = False


def claim(
    connection: Connection,
    destination_id: int,
    worker_id: int,
    limit: int,
    *,
    last: Priority = Priority.FIRST_PUSH,
    user_id_once: bool = False,
    is_probe: bool = False,
) -> list[ClaimedLane]:
    """Lease up to `limit` due lanes, and load what waits in them; the most urgent first, the longest due first.

    A tenth of what is claimed is kept for the last priority while it has something; `last` leaves out what is less
    urgent than it. A lane may come empty, when its message was taken back. A paused destination has nothing due.
    `user_id_once`: of several emails of a person only the first one has the user id beside it.
    """
    lanes = lease(connection, destination_id, worker_id, limit, last=last, is_probe=is_probe)
    return pipeline.ask(connection, loading(destination_id, lanes, user_id_once=user_id_once)) if lanes else []


def lease(
    connection: Connection,
    destination_id: int,
    worker_id: int,
    limit: int,
    *,
    last: Priority = Priority.FIRST_PUSH,
    is_probe: bool = False,
) -> list[Leased]:
    """Lease as `claim` does, and load nothing yet."""
    given = {"destination": destination_id, "worker": worker_id, "is_probe": is_probe}
    kept = _tenth(limit) if last is Priority.FIRST_PUSH else 0
    urgent = limit - kept
    lanes: list[Leased]
    lanes, due = pipeline.ask_each(
        connection, [_leasing(Priority.REALTIME, urgent, given), Query(_DUE, {"destination": destination_id}, _due)]
    )
    is_full = len(lanes) == urgent
    if last >= Priority.TICK and Priority.TICK in due:
        lanes += _lease(connection, Priority.TICK, urgent - len(lanes), given)
        is_full = len(lanes) == urgent
    if last is Priority.FIRST_PUSH and Priority.FIRST_PUSH in due:
        lanes += _lease(connection, Priority.FIRST_PUSH, limit - len(lanes), given)
    if is_full and len(lanes) < limit:
        # The tenth was kept for nobody.
        lanes += _lease(connection, Priority.REALTIME, limit - len(lanes), given)
        lanes += _lease(connection, Priority.TICK, limit - len(lanes), given)
    return lanes


def lease_one(
    connection: Connection, destination_id: int, worker_id: int, profile_id: int, *, is_probe: bool = False
) -> list[Leased]:
    """Lease one person's lane if it is due."""
    given = {"destination": destination_id, "worker": worker_id, "profile": profile_id, "is_probe": is_probe}
    return pipeline.ask(connection, Query(_LEASE_ONE, given, list))


def loading(destination_id: int, lanes: Sequence[Leased], *, user_id_once: bool = False) -> Query[list[ClaimedLane]]:
    """Asks for what waits in leased lanes; they come the most urgent first, the longest due first."""
    given = {
        "profiles": [lane.profile_id for lane in lanes],
        "destination": destination_id,
        "messages": MESSAGES_A_LANE + 1,
        "user_id_once": user_id_once,
    }

    def read(rows: Rows) -> list[ClaimedLane]:
        waiting: dict[int, list[Message]] = {}
        for row in rows:
            waiting.setdefault(row.profile_id, []).append(_message(row, destination_id))
        return [
            ClaimedLane(
                profile_id=lane.profile_id,
                destination_id=destination_id,
                priority=lane.priority,
                late=lane.late,
                messages=tuple(waiting.get(lane.profile_id, ())[:MESSAGES_A_LANE]),
                has_more=len(waiting.get(lane.profile_id, ())) > MESSAGES_A_LANE,
            )
            for lane in sorted(lanes, key=lambda lane: (lane.priority, lane.due_at))
        ]

    return Query(_LOAD, given, read)


def start(
    connection: Connection, worker_id: int, messages: Sequence[Wanted], timeout: float, *, in_bulk: bool = False
) -> dict[int, Started]:
    """Mark messages as started, and return those that really are, by id. Commit before anything is sent.

    Left out is what is gone or moved, what is not leased by this worker any more, what a request of may still be on its
    way (`timeout` seconds since it started), everything of a destination that is paused or held, and of suppressed
    people.
    """
    return pipeline.ask(connection, starting(worker_id, messages, timeout, in_bulk=in_bulk))


def starting(
    worker_id: int, messages: Sequence[Wanted], timeout: float, *, in_bulk: bool = False
) -> Query[dict[int, Started]]:
    """The query of `start`."""
    given = {
        "worker": worker_id,
        "ids": [message.id for message in messages],
        "profiles": [message.profile_id for message in messages],
        "again": [message.again for message in messages],
        "are_probes": [message.is_probe for message in messages],
        "timeout": timeout,
        "in_bulk": in_bulk,
    }
    return Query(_START, given, _started)


def _started(rows: Rows) -> dict[int, Started]:
    return {row[0]: Started(attempts=row[1], started_at=row[2], first_started_at=row[3]) for row in rows}


def _tenth(limit: int) -> int:
    """A tenth of the limit; of a small one, one now and then, so that it is a tenth on average."""
    whole, rest = divmod(limit, 10)
    return whole + (random.random() * 10 < rest)


def _lease(connection: Connection, priority: Priority, limit: int, given: dict[str, int]) -> list[Leased]:
    return pipeline.ask(connection, _leasing(priority, limit, given)) if limit > 0 else []


def _leasing(priority: Priority, limit: int, given: dict[str, int]) -> Query[list[Leased]]:
    return Query(_LEASE, {**given, "priority": int(priority), "limit": limit}, list)


def _due(rows: Rows) -> set[Priority]:
    (row,) = rows
    return {priority for priority, is_due in ((Priority.TICK, row.tick), (Priority.FIRST_PUSH, row.first)) if is_due}


def _message(row: Any, destination_id: int) -> Message:
    subject = None
    if row.public_id is not None:
        subject = Subject(public_id=row.public_id, kind=row.kind, key=row.key, track=row.track, is_row=row.is_row)
    return Message(
        id=row.id,
        destination_id=destination_id,
        profile_id=row.profile_id,
        definition_id=row.definition_id,
        identity_type=row.identity_type,
        identity_value=row.identity_value,
        call_type=row.call_type,
        value=row.value,
        told_version=row.told_version,
        as_of=row.as_of,
        user_id=row.user_id,
        subject=subject,
        source=row.source,
        call=row.call,
        is_suppressed=row.is_suppressed,
    )
