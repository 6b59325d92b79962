"""How delivery stands: each destination, and what waits for it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, text

from engage_sync.outbox import budget
from engage_sync.outbox.outages import time_held

# Exact while a person needs the number.
_COUNTED = 1_000_000

_DESTINATIONS = text(
    """
    SELECT destinations.slug AS destination,
           CASE WHEN paused_at IS NOT NULL THEN 'paused' WHEN outage.since IS NOT NULL THEN 'held' ELSE 'sending' END
             AS state,
           coalesce(paused_at, outage.since) AS since,
           CASE WHEN paused_at IS NOT NULL THEN paused_reason ELSE outage.reason END AS reason,
           CASE WHEN paused_at IS NULL THEN outage.probes END AS failed_probes,
           CASE WHEN paused_at IS NULL THEN outage.probe_at END AS next_probe_at,
           (SELECT count(*) FROM (
              SELECT FROM messages WHERE destination_id = destinations.id LIMIT :counted) AS few) AS waiting,
           (SELECT count(*) FROM (
              SELECT FROM messages WHERE destination_id = destinations.id AND attempts > 0 AND last_error IS NOT NULL
              LIMIT :counted) AS few) AS retrying,
           (SELECT min(enqueued_at) FROM messages WHERE destination_id = destinations.id) AS oldest,
           (SELECT count(*) FROM dead_letters WHERE destination_id = destinations.id AND status = 'open')
             AS dead_letters
    FROM destinations
    LEFT JOIN outages AS outage ON outage.destination_id = destinations.id AND outage.until IS NULL
    ORDER BY destinations.slug
    """
)
_OUTBOX = text(
    f"""
    SELECT messages.id, destinations.slug AS destination, definitions.key, sources.slug AS source, identity_type,
           identity_value, call_type, messages.value, attempts, enqueued_at, first_started_at AS first_tried_at,
           CASE WHEN lanes.worker_id IS NULL THEN greatest(lanes.due_at, clock_timestamp()) END AS next_at,
           CASE WHEN first_started_at IS NOT NULL THEN first_started_at + CAST(:retry_for AS interval)
             + {time_held("messages.destination_id", "messages.first_started_at", "clock_timestamp()")}
           END AS gives_up_at,
           last_error,
           CASE WHEN lanes.worker_id IS NOT NULL THEN 'under way'
                WHEN destinations.paused_at IS NOT NULL THEN 'paused'
                WHEN EXISTS (SELECT FROM outages WHERE outages.destination_id = messages.destination_id
                               AND until IS NULL) THEN 'held'
                WHEN attempts > 0 AND lanes.due_at > clock_timestamp() THEN 'retrying'
                WHEN lanes.due_at > clock_timestamp() THEN 'behind a retry'
                ELSE 'due' END AS state
    FROM messages
    JOIN destinations ON destinations.id = messages.destination_id
    LEFT JOIN lanes ON lanes.profile_id = messages.profile_id AND lanes.destination_id = messages.destination_id
    LEFT JOIN definitions ON definitions.id = messages.definition_id
    LEFT JOIN sources ON sources.id = messages.source_id
    WHERE (CAST(:destination AS text) IS NULL OR destinations.slug = CAST(:destination AS text))
      AND (CAST(:key AS text) IS NULL OR definitions.key = CAST(:key AS text))
      AND (CAST(:profile AS bigint) IS NULL OR messages.profile_id = CAST(:profile AS bigint))
      AND (NOT :retrying OR attempts > 0)
    ORDER BY messages.id DESC LIMIT CAST(:limit AS bigint)
    """  # noqa: S608 - names of columns
)


def destinations(connection: Connection, slugs: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """How each destination stands: `state` is sending, paused (by hand, or as its key was refused) or held.

    `rates` are the shares of its budgets that are used just now, where it complained of too many requests; `waiting`
    and `retrying` are messages (up to a million), `oldest` is since when the first of them waits. `slugs`: only those.
    """
    lowered: dict[str, dict[str, float]] = {}
    for each in budget.lowered(connection):
        lowered.setdefault(each.destination, {})[each.name] = round(each.share, 3)
    return [
        {**row._mapping, "rates": lowered.get(row.destination, {})}
        for row in connection.execute(_DESTINATIONS, {"counted": _COUNTED})
        if slugs is None or row.destination in slugs
    ]


def outbox(
    connection: Connection,
    *,
    retry_for: float,
    destination: str | None = None,
    key: str | None = None,
    profile: int | None = None,
    retrying: bool = False,
    limit: int | None = None,
) -> list[dict[str, Any]]:
    """What waits to be sent, newest first: when it is tried next, and until when (`retry_for` in seconds).

    `retrying`: only what was tried already. A `profile` is an internal id.
    """
    given = {"destination": destination, "key": key, "profile": profile, "retrying": retrying, "limit": limit}
    rows = connection.execute(_OUTBOX, {**given, "retry_for": timedelta(seconds=retry_for)})
    return [dict(row._mapping) for row in rows]
