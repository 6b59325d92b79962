"""What could not be delivered: kept with its reason, to be looked at, sent again (sync/replaying.py), or dropped.

Writes `dead_letters`, and `messages` and `lanes` when something is sent again. Statuses: open, replayed, obsolete (what
it would say is no longer true, or was said since), discarded.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, text

from engage_sync import errors
from engage_sync.database import channels
from engage_sync.messages.forwarded import FORGET
from engage_sync.outbox import forgetting, lanes
from engage_sync.outbox.enqueue import Priority

STATUSES = ("open", "replayed", "obsolete", "discarded")


@dataclass(frozen=True, kw_only=True, slots=True)
class DeadLetter:
    """`request` is what was sent, without headers; `answer` the first bytes of what came back.

    `key` is the definition's, which may be deleted by now; of a forwarded call it is None, `source` the slug of its
    source, and `value` what it is known by, such as an event's name. `happened_at` is when what it says came about.
    """

    id: int
    destination: str
    key: str | None
    is_deleted: bool
    source: str | None
    profile_id: str | None
    identity_type: str
    identity_value: str
    call_type: str
    value: Any
    attempts: int
    reason: str
    request: Any
    answer: bytes | None
    status: str
    happened_at: datetime
    failed_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Chosen:
    """Which dead letters: those that all that is given holds for. `reason` is a part of it, in any case.

    `profile` is a person's internal id; `since` and `until` are instants of failing, the later one excluded.
    """

    ids: Collection[int] | None = None
    destination: str | None = None
    key: str | None = None
    reason: str | None = None
    profile: int | None = None
    call_type: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    status: str | None = "open"

    def parameters(self) -> dict[str, Any]:
        return {
            "ids": None if self.ids is None else list(self.ids),
            "destination": self.destination,
            "key": self.key,
            "reason": self.reason,
            "profile": self.profile,
            "call_type": self.call_type,
            "since": self.since,
            "until": self.until,
            "status": self.status,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Again:
    """What of a dead letter is sent, under which versions, to whose lane; None: as it was."""

    id: int
    profile: int | None = None
    value: str | None = None
    told_version: int | None = None
    definition_version: int | None = None
    as_of: datetime | None = None


_CHOSEN = """
    (CAST(:ids AS bigint[]) IS NULL OR dead_letters.id = ANY(CAST(:ids AS bigint[])))
    AND (CAST(:destination AS text) IS NULL OR dead_letters.destination_id =
         (SELECT id FROM destinations WHERE slug = CAST(:destination AS text)))
    AND (CAST(:key AS text) IS NULL OR dead_letters.definition_id =
         (SELECT id FROM definitions WHERE key = CAST(:key AS text)))
    AND (CAST(:reason AS text) IS NULL OR strpos(lower(dead_letters.reason), lower(CAST(:reason AS text))) > 0)
    AND (CAST(:profile AS bigint) IS NULL OR dead_letters.profile_id = CAST(:profile AS bigint))
    AND (CAST(:call_type AS text) IS NULL OR dead_letters.call_type = CAST(:call_type AS text))
    AND (CAST(:since AS timestamptz) IS NULL OR dead_letters.failed_at >= CAST(:since AS timestamptz))
    AND (CAST(:until AS timestamptz) IS NULL OR dead_letters.failed_at < CAST(:until AS timestamptz))
    AND (CAST(:status AS text) IS NULL OR dead_letters.status = CAST(:status AS text))
"""
_LIST = text(
    """
    SELECT dead_letters.id, destinations.slug, definitions.key, definitions.deleted_at IS NOT NULL AS is_deleted,
           sources.slug AS source, profiles.public_id, identity_type, identity_value, call_type, value, attempts,
           reason, request, answer, status, as_of, failed_at
    FROM dead_letters
    JOIN destinations ON destinations.id = dead_letters.destination_id
    LEFT JOIN definitions ON definitions.id = dead_letters.definition_id
    LEFT JOIN sources ON sources.id = dead_letters.source_id
    LEFT JOIN profiles ON profiles.id = dead_letters.profile_id
    WHERE
    """  # noqa: S608 - constants of this module
    + _CHOSEN
    + "ORDER BY dead_letters.id DESC LIMIT :limit"
)
_REASONS = text(
    """
    SELECT destinations.slug AS destination, definitions.key, sources.slug AS source, call_type, reason,
           count(*) AS letters, min(failed_at) AS first_at, max(failed_at) AS last_at
    FROM dead_letters
    JOIN destinations ON destinations.id = dead_letters.destination_id
    LEFT JOIN definitions ON definitions.id = dead_letters.definition_id
    LEFT JOIN sources ON sources.id = dead_letters.source_id
    WHERE
    """  # noqa: S608 - constants of this module
    + _CHOSEN
    + "GROUP BY 1, 2, 3, 4, 5 ORDER BY max(failed_at) DESC, letters DESC LIMIT :limit"
)
_DISCARD = text(
    "UPDATE dead_letters SET status = 'discarded' WHERE"  # noqa: S608 - constants of this module
    + _CHOSEN
    + "RETURNING call_type, value::text"
)
# By the messages' ids, which is the order in which they were to be said.
_NEXT = text(
    """
    SELECT id, message_id, definition_id FROM dead_letters WHERE
    """  # noqa: S608 - constants of this module
    + _CHOSEN
    + "AND message_id > :after ORDER BY message_id LIMIT :limit"
)
_LOCK = text(
    """
    SELECT dead_letters.id, identity_value, identity_type, destination_id, definition_id, call_type,
           dead_letters.told_version, dead_letters.value::text, dead_letters.profile_id,
           coalesce(told.profile_id, dead_letters.profile_id) AS holder_id, told.version,
           told.enqueued IS NOT NULL AS is_waiting, destinations.slug
    FROM dead_letters
    JOIN destinations ON destinations.id = dead_letters.destination_id
    LEFT JOIN told USING (identity_value, identity_type, destination_id, definition_id, call_type)
    WHERE dead_letters.id = ANY(CAST(:ids AS bigint[])) AND status = 'open'
    ORDER BY message_id FOR UPDATE OF dead_letters SKIP LOCKED
    """
)
_MARK = text("UPDATE dead_letters SET status = :status WHERE id = ANY(CAST(:ids AS bigint[]))")
# Under the told version that it had, if it says the same, and so under the same message id: a destination that did take
# it knows it again. A source's identify leaves out the traits of which something newer was said since.
_APPEND = text(
    """
    INSERT INTO messages (destination_id, profile_id, definition_id, definition_version, run_id, identity_type,
                          identity_value, call_type, value, told_version, as_of, source_id, call)
    SELECT destination_id, coalesce(again.profile, profile_id), definition_id,
           coalesce(again.definition_version, dead_letters.definition_version), run_id, identity_type, identity_value,
           call_type,
           coalesce(again.value, dead_letters.value), coalesce(again.told_version, dead_letters.told_version),
           coalesce(again.as_of, dead_letters.as_of), source_id,
           CASE WHEN call_type = 'identify' AND call ? 'traits' THEN jsonb_set(call, '{traits}', (
             SELECT coalesce(jsonb_object_agg(said.name, said.value), '{}')
             FROM jsonb_each(call -> 'traits') AS said (name, value)
             LEFT JOIN traits ON traits.profile_id = dead_letters.profile_id AND traits.name = said.name
             WHERE said.name = 'email' OR traits.timestamp IS NULL OR traits.timestamp <= dead_letters.as_of
           )) ELSE call END
    FROM dead_letters
    JOIN unnest(CAST(:ids AS bigint[]), CAST(:profiles AS bigint[]), CAST(:values AS jsonb[]),
                CAST(:told_versions AS integer[]), CAST(:definition_versions AS integer[]),
                CAST(:instants AS timestamptz[]))
      AS again (id, profile, value, told_version, definition_version, as_of) USING (id)
    ORDER BY message_id
    RETURNING profile_id, destination_id, call_type, value::text
    """
)


def listing(connection: Connection, chosen: Chosen, *, limit: int | None = None) -> list[DeadLetter]:
    """Dead letters, the newest first. `limit` None: whole. Raises errors.NotFound for a name that there isn't."""
    _check(connection, chosen)
    return [_dead_letter(row) for row in connection.execute(_LIST, {**chosen.parameters(), "limit": limit})]


def find(connection: Connection, number: int) -> DeadLetter:
    """One dead letter, whatever its status. Raises errors.NotFound."""
    found = listing(connection, Chosen(ids=[number], status=None))
    if not found:
        raise errors.NotFound(f"There is no dead letter {number}. Those that there are: engage-sync dead-letters list")
    return found[0]


def reasons(connection: Connection, chosen: Chosen, *, limit: int | None = None) -> list[dict[str, Any]]:
    """How many failed of each definition (or source) and call, and why; what failed last comes first."""
    _check(connection, chosen)
    return [dict(row._mapping) for row in connection.execute(_REASONS, {**chosen.parameters(), "limit": limit})]


def discard(connection: Connection, chosen: Chosen) -> int:
    """Give up dead letters for good; returns how many. They stay listed under their status."""
    _check(connection, chosen)
    rows = connection.execute(_DISCARD, chosen.parameters()).all()
    # They name whom nobody should be able to name any more.
    given_up = [int(row.value) for row in rows if row.call_type == FORGET]
    forgetting.answered(connection, "discarded", dict.fromkeys(given_up))
    return len(rows)


def upcoming(connection: Connection, chosen: Chosen, *, after: int, limit: int) -> Sequence[Row[Any]]:
    """(id, message_id, definition_id) of the next ones after a message's id, in the order of their messages."""
    _check(connection, chosen)
    return connection.execute(_NEXT, {**chosen.parameters(), "after": after, "limit": limit}).all()


def lock(connection: Connection, ids: Collection[int]) -> Sequence[Row[Any]]:
    """Those that are still open and nobody else holds, with what their identity was told since.

    In the order of their messages. `version` and `is_waiting` are of `told`, `holder_id` is whom it is about by now.
    """
    return connection.execute(_LOCK, {"ids": list(ids)}).all()


def mark(connection: Connection, ids: Collection[int], status: str) -> None:
    """Open dead letters become replayed or obsolete."""
    if ids:
        connection.execute(_MARK, {"ids": sorted(ids), "status": status})


def append(connection: Connection, again: Sequence[Again]) -> None:
    """Send these again, behind what waits for the same people, in the order in which they were to be said."""
    if not again:
        return
    rows = connection.execute(
        _APPEND,
        {
            "ids": [each.id for each in again],
            "profiles": [each.profile for each in again],
            "values": [each.value for each in again],
            "told_versions": [each.told_version for each in again],
            "definition_versions": [each.definition_version for each in again],
            "instants": [each.as_of for each in again],
        },
    ).all()
    asking = [int(row.value) for row in rows if row.call_type == FORGET]
    forgetting.answered(connection, "waiting", dict.fromkeys(asking))
    lanes.open_lanes(connection, [(row.profile_id, row.destination_id) for row in rows], Priority.TICK)
    channels.notify(connection, channels.OUTBOX)


_KNOWN = text(
    """
    SELECT CAST(:destination AS text) IS NULL OR EXISTS (SELECT FROM destinations WHERE slug = :destination),
           CAST(:key AS text) IS NULL OR EXISTS (SELECT FROM definitions WHERE key = :key)
    """
)


def _check(connection: Connection, chosen: Chosen) -> None:
    """A name that is misspelt must not look as if there were none."""
    if chosen.status is not None and chosen.status not in STATUSES:
        raise errors.UsageError(f"There is no status {chosen.status!r}. Expected {', '.join(STATUSES)} or all.")
    knows_destination, knows_key = connection.execute(
        _KNOWN, {"destination": chosen.destination, "key": chosen.key}
    ).one()
    if not knows_destination:
        raise errors.NotFound(
            f"There is no destination {chosen.destination!r}. Those that there are: engage-sync doctor"
        )
    if not knows_key:
        raise errors.NotFound(f"There is no definition {chosen.key!r}, and there was none.")


def _dead_letter(row: Row[Any]) -> DeadLetter:
    return DeadLetter(
        id=row.id,
        destination=row.slug,
        key=row.key,
        is_deleted=bool(row.is_deleted),
        source=row.source,
        profile_id=row.public_id,
        identity_type=row.identity_type,
        identity_value=row.identity_value,
        call_type=row.call_type,
        value=row.value,
        attempts=row.attempts,
        reason=row.reason,
        request=row.request,
        answer=None if row.answer is None else bytes(row.answer),
        status=row.status,
        happened_at=row.as_of,
        failed_at=row.failed_at,
    )
