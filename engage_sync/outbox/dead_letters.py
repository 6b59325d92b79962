"""What could not be delivered: kept with its reason, to be looked at, sent again, or dropped.

Writes `dead_letters`, and `messages` and `lanes` when something is sent again. Statuses: open, replayed, obsolete (an
identify about which something newer was said since), discarded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, text

from engage_sync.database import channels
from engage_sync.messages.forwarded import FORGET
from engage_sync.outbox import forgetting, lanes
from engage_sync.outbox.enqueue import Priority
from engage_sync.snapshots import settled
from engage_sync.snapshots.settled import Ended, ToldKey


@dataclass(frozen=True, kw_only=True, slots=True)
class DeadLetter:
    """`request` is what was sent, without headers; `answer` the first bytes of what came back.

    `key` is the definition's; of a forwarded call it is None, `source` the slug of its source, and `value` what it is
    known by, such as an event's name.
    """

    id: int
    destination: str
    key: str | None
    source: str | None
    identity_type: str
    identity_value: str
    call_type: str
    value: Any
    attempts: int
    reason: str
    request: Any
    answer: bytes | None
    status: str
    failed_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Replayed:
    """How many wait again, and how many have been overtaken by something newer."""

    waiting: int
    obsolete: int


_CHOSEN = """
    (CAST(:ids AS bigint[]) IS NULL OR dead_letters.id = ANY(CAST(:ids AS bigint[])))
    AND (CAST(:destination AS text) IS NULL OR dead_letters.destination_id =
         (SELECT id FROM destinations WHERE slug = CAST(:destination AS text)))
    AND (CAST(:key AS text) IS NULL OR dead_letters.definition_id =
         (SELECT id FROM definitions WHERE key = CAST(:key AS text)))
    AND (CAST(:status AS text) IS NULL OR dead_letters.status = CAST(:status AS text))
"""
_LIST = text(
    """
    SELECT dead_letters.id, destinations.slug, definitions.key, sources.slug AS source, identity_type, identity_value,
           call_type, value, attempts, reason, request, answer, status, failed_at
    FROM dead_letters
    JOIN destinations ON destinations.id = dead_letters.destination_id
    LEFT JOIN definitions ON definitions.id = dead_letters.definition_id
    LEFT JOIN sources ON sources.id = dead_letters.source_id
    WHERE
    """  # noqa: S608 - constants of this module
    + _CHOSEN
    + "ORDER BY dead_letters.id DESC LIMIT :limit"
)
_DISCARD = text(
    "UPDATE dead_letters SET status = 'discarded' WHERE"  # noqa: S608 - constants of this module
    + _CHOSEN
    + "RETURNING call_type, value::text"
)
_LOCK = text(
    """
    SELECT id, identity_value, identity_type, destination_id, definition_id, call_type, told_version, value::text,
           profile_id
    FROM dead_letters WHERE
    """  # noqa: S608 - constants of this module
    + _CHOSEN
    + "AND id > :after ORDER BY id LIMIT :limit FOR UPDATE SKIP LOCKED"
)
_OVERTAKEN = text(
    """
    SELECT dead_letters.id FROM dead_letters
    LEFT JOIN told USING (identity_value, identity_type, destination_id, definition_id, call_type)
    WHERE dead_letters.id = ANY(CAST(:ids AS bigint[]))
      AND (dead_letters.call_type = 'identify' AND told.version > dead_letters.told_version
           -- Since it was refused, the two emails are told apart.
           OR dead_letters.call_type = 'email_change')
    """
)
_MARK = text("UPDATE dead_letters SET status = :status WHERE id = ANY(CAST(:ids AS bigint[]))")
# Under the told version that it had, and so under the same message id: a destination that did take it knows it again.
# A source's identify leaves out the traits of which something newer was said since.
_APPEND = text(
    """
    INSERT INTO messages (destination_id, profile_id, definition_id, definition_version, run_id, identity_type,
                          identity_value, call_type, value, told_version, as_of, source_id, call)
    SELECT destination_id, profile_id, definition_id, definition_version, run_id, identity_type, identity_value,
           call_type, value, told_version, as_of, source_id,
           CASE WHEN call_type = 'identify' AND call ? 'traits' THEN jsonb_set(call, '{traits}', (
             SELECT coalesce(jsonb_object_agg(said.name, said.value), '{}')
             FROM jsonb_each(call -> 'traits') AS said (name, value)
             LEFT JOIN traits ON traits.profile_id = dead_letters.profile_id AND traits.name = said.name
             WHERE said.name = 'email' OR traits.timestamp IS NULL OR traits.timestamp <= dead_letters.as_of
           )) ELSE call END
    FROM dead_letters WHERE id = ANY(CAST(:ids AS bigint[])) ORDER BY message_id
    """
)
# A transaction holds what the identities were told, which computations wait for.
_BATCH = 1_000


def listing(
    connection: Connection,
    *,
    destination: str | None = None,
    key: str | None = None,
    status: str | None = "open",
    limit: int | None = None,
) -> list[DeadLetter]:
    """Dead letters, the newest first. `status` None: all of them; `limit` None: whole."""
    rows = connection.execute(_LIST, {**_chosen(None, destination, key, status), "limit": limit})
    return [_dead_letter(row) for row in rows]


def discard(
    connection: Connection, ids: Sequence[int] | None = None, *, destination: str | None = None, key: str | None = None
) -> int:
    """Give up open dead letters for good; returns how many. They stay listed under their status."""
    rows = connection.execute(_DISCARD, _chosen(ids, destination, key, "open")).all()
    # They name whom nobody should be able to name any more.
    given_up = [int(row.value) for row in rows if row.call_type == FORGET]
    forgetting.answered(connection, "discarded", dict.fromkeys(given_up))
    return len(rows)


def replay(
    connection: Connection,
    ids: Sequence[int] | None = None,
    *,
    destination: str | None = None,
    key: str | None = None,
    after: int = 0,
) -> tuple[Replayed, int | None]:
    """Send open dead letters again, behind what waits for the same people: one batch, in the order of their ids.

    Returns what became of them, and the id to go on `after`, in the next transaction; None at the end.
    """
    given = {**_chosen(ids, destination, key, "open"), "after": after, "limit": _BATCH}
    rows = connection.execute(_LOCK, given).all()
    if not rows:
        return Replayed(waiting=0, obsolete=0), None
    # Computations hold what their identities were told until they commit; what they hold is left open for another time.
    held = settled.lock(connection, {each for row in rows if (each := _key(row))})
    free = [row for row in rows if _key(row) not in held]
    overtaken = set(connection.execute(_OVERTAKEN, {"ids": [row.id for row in free]}).scalars())
    again = [row for row in free if row.id not in overtaken]
    connection.execute(_MARK, {"ids": sorted(overtaken), "status": "obsolete"})
    connection.execute(_MARK, {"ids": [row.id for row in again], "status": "replayed"})
    connection.execute(_APPEND, {"ids": [row.id for row in again]})
    waiting = [int(row.value) for row in again if row.call_type == FORGET]
    forgetting.answered(connection, "waiting", dict.fromkeys(waiting))
    told = [(_key(row), row) for row in again]
    settled.restore(
        connection, [Ended(key=each, told_version=row.told_version, value=row.value) for each, row in told if each]
    )
    lanes.open_lanes(connection, [(row.profile_id, row.destination_id) for row in again], Priority.TICK)
    channels.notify(connection, channels.OUTBOX)
    return Replayed(waiting=len(again), obsolete=len(overtaken)), rows[-1].id


def _chosen(ids: Sequence[int] | None, destination: str | None, key: str | None, status: str | None) -> dict[str, Any]:
    return {"ids": None if ids is None else list(ids), "destination": destination, "key": key, "status": status}


def _key(row: Row[Any]) -> ToldKey | None:
    if row.definition_id is None:
        return None
    return ToldKey(row.identity_value, row.identity_type, row.destination_id, row.definition_id, row.call_type)


def _dead_letter(row: Row[Any]) -> DeadLetter:
    return DeadLetter(
        id=row.id,
        destination=row.slug,
        key=row.key,
        source=row.source,
        identity_type=row.identity_type,
        identity_value=row.identity_value,
        call_type=row.call_type,
        value=row.value,
        attempts=row.attempts,
        reason=row.reason,
        request=row.request,
        answer=None if row.answer is None else bytes(row.answer),
        status=row.status,
        failed_at=row.failed_at,
    )
