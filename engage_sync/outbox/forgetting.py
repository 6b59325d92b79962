"""Asking destinations to forget people, and what they answer.

Writes `privacy_answers`, `messages` and `lanes`. What asks is a message like any other, in its person's lane: after
whatever may still be on its way. It is the only thing that names the person until it is answered, and never gets into
`delivered`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, text

from engage_sync.database import channels
from engage_sync.outbox import roads
from engage_sync.outbox.enqueue import Priority
from engage_sync.outbox.erasing import Withdrawn
from engage_sync.profiles.identifiers import Identifier

_REASON_CHARACTERS = 500
# A request lives 10 seconds at most, so whatever starts after that can't be overtaken by it.
REQUEST_TIMEOUT = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Asking:
    """Somebody whom a destination has to forget. `call` is JSON text; `seconds` how long it has to stand in line."""

    request_id: int
    profile_id: int
    destination_id: int
    identifier: Identifier
    call: str
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class NotAsked:
    """Why a destination isn't asked: `status` is unsupported, impossible or unconfigured."""

    request_id: int
    destination_id: int
    identity_type: str | None
    status: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """`status`: waiting, taken, refused, withheld, discarded; or why it wasn't asked."""

    request_id: int
    destination: str
    identity_type: str | None
    status: str
    reason: str | None


# --- asking destinations ------------------------------------------------------------------------------------------

_NEW_IDS = text("SELECT nextval(pg_get_serial_sequence('privacy_answers', 'id')) FROM generate_series(1, :number)")
_ANSWERS = text(
    """
    INSERT INTO privacy_answers (id, request_id, destination_id, identity_type, status, reason, answered_at)
    OVERRIDING SYSTEM VALUE
    SELECT id, request_id, destination_id, identity_type, status, reason,
           CASE WHEN status <> 'waiting' THEN clock_timestamp() END
    FROM unnest(CAST(:ids AS bigint[]), CAST(:requests AS bigint[]), CAST(:destinations AS smallint[]),
                CAST(:types AS text[]), CAST(:statuses AS text[]), CAST(:reasons AS text[]))
      AS answer (id, request_id, destination_id, identity_type, status, reason)
    """
)
# Its value is the answer's id. What may still be on its way counts as this message's own start: nothing of the person
# starts before that can't arrive any more, whoever has the lane, and whoever takes it over.
_ASK = text(
    """
    WITH asking AS MATERIALIZED (
      SELECT * FROM unnest(CAST(:profiles AS bigint[]), CAST(:destinations AS smallint[]), CAST(:types AS text[]),
                           CAST(:values AS text[]), CAST(:answers AS bigint[]), CAST(:calls AS jsonb[]),
                           CAST(:started AS timestamptz[]), CAST(:due AS timestamptz[]), CAST(:seconds AS float8[]))
        WITH ORDINALITY
        AS asking (profile_id, destination_id, type, value, answer_id, call, started_at, not_before, seconds, place)
    ), opened AS (
      INSERT INTO lanes (profile_id, destination_id, priority, due_at)
      SELECT profile_id, destination_id, CAST(:priority AS smallint),
             greatest(clock_timestamp() + min(seconds) * interval '1 second', max(not_before))
      FROM asking GROUP BY profile_id, destination_id ORDER BY profile_id, destination_id
      ON CONFLICT (profile_id, destination_id) DO UPDATE
      -- What else waited in it is withdrawn.
      SET priority = excluded.priority, due_at = excluded.due_at
    )
    INSERT INTO messages (destination_id, profile_id, identity_type, identity_value, call_type, value, call, as_of,
                          started_at)
    SELECT destination_id, profile_id, type, value, 'forget', to_jsonb(answer_id), call, clock_timestamp(), started_at
    FROM asking ORDER BY place
    """
)
_WAITING = text("SELECT destination_id, count(*) FROM privacy_answers WHERE status = 'waiting' GROUP BY destination_id")
_TAKEN = text(
    """
    SELECT destination_id, count(*) FROM privacy_answers
    WHERE status = 'taken' AND answered_at > clock_timestamp() - interval '1 day' GROUP BY destination_id
    """
)


def ask(connection: Connection, asked: Sequence[Asking], withdrawn: Withdrawn) -> None:
    """Put behind what may be under way that a destination has to forget somebody, and wake the workers."""
    if not asked:
        return
    given = {"number": len(asked)}
    answers = list(connection.execute(_NEW_IDS, given).scalars())
    connection.execute(
        _ANSWERS,
        {
            "ids": answers,
            "requests": [each.request_id for each in asked],
            "destinations": [each.destination_id for each in asked],
            "types": [each.identifier[0] for each in asked],
            "statuses": ["waiting"] * len(asked),
            "reasons": [None] * len(asked),
        },
    )
    places = [(each.profile_id, each.destination_id) for each in asked]
    not_before = _not_before(connection, withdrawn, sorted({profile for profile, _ in places}))
    connection.execute(
        _ASK,
        {
            "profiles": [each.profile_id for each in asked],
            "destinations": [each.destination_id for each in asked],
            "types": [each.identifier[0] for each in asked],
            "values": [each.identifier[1] for each in asked],
            "answers": answers,
            "calls": [each.call for each in asked],
            "started": [withdrawn.under_way.get(place) for place in places],
            "due": [not_before.get(place) for place in places],
            "seconds": [each.seconds for each in asked],
            # Days at the destination's rate: not before what somebody waits for, nor behind a first push.
            "priority": int(Priority.TICK),
        },
    )
    channels.notify(connection, channels.OUTBOX)


def note(connection: Connection, not_asked: Sequence[NotAsked]) -> None:
    """Put on record which destinations aren't asked, and why."""
    if not_asked:
        ids = list(connection.execute(_NEW_IDS, {"number": len(not_asked)}).scalars())
        connection.execute(
            _ANSWERS,
            {
                "ids": ids,
                "requests": [each.request_id for each in not_asked],
                "destinations": [each.destination_id for each in not_asked],
                "types": [each.identity_type for each in not_asked],
                "statuses": [each.status for each in not_asked],
                "reasons": [each.reason for each in not_asked],
            },
        )


def waiting(connection: Connection) -> dict[int, int]:
    """How many are to be forgotten by each destination and aren't yet."""
    return {row[0]: row[1] for row in connection.execute(_WAITING)}


def taken_within_a_day(connection: Connection) -> dict[int, int]:
    """How many each destination has forgotten in the last 24 hours."""
    return {row[0]: row[1] for row in connection.execute(_TAKEN)}


_SENT_IN_BULK = text(
    """
    SELECT profile_id, destination_id, max(delivered_at) AS delivered_at FROM delivered
    WHERE profile_id = ANY(CAST(:profiles AS bigint[])) AND in_bulk
      AND delivered_at > statement_timestamp() - CAST(:kept_for AS float8) * interval '1 second'
    GROUP BY profile_id, destination_id
    """
)


def _not_before(connection: Connection, withdrawn: Withdrawn, profiles: list[int]) -> dict[tuple[int, int], datetime]:
    """When the last request can't be on its way any more; after one that went in bulk some minutes later.

    Nothing orders what went in bulk and what goes by itself.
    """
    found = {place: started + timedelta(seconds=REQUEST_TIMEOUT) for place, started in withdrawn.under_way.items()}
    for row in connection.execute(_SENT_IN_BULK, {"profiles": profiles, "kept_for": roads.KEPT_FOR}):
        place = row.profile_id, row.destination_id
        until = row.delivered_at + timedelta(seconds=roads.KEPT_FOR)
        found[place] = max(until, found.get(place, until))
    return found


# --- answers ------------------------------------------------------------------------------------------------------

_ANSWERED = text(
    """
    UPDATE privacy_answers
    SET status = :status, answered_at = CASE WHEN :status <> 'waiting' THEN clock_timestamp() END,
        reason = answered.reason
    FROM unnest(CAST(:ids AS bigint[]), CAST(:reasons AS text[])) AS answered (id, reason)
    WHERE privacy_answers.id = answered.id
    """
)
_LETTERS_GONE = text(
    """
    DELETE FROM dead_letters
    WHERE call_type = 'forget' AND value = ANY(SELECT to_jsonb(unnest(CAST(:ids AS bigint[]))))
    """
)


def answered(connection: Connection, status: str, answers: Mapping[int, str | None]) -> None:
    """What destinations said, by the id of the answer. A reason must not name anybody.

    What was refused before and is over now, leaves no dead letter.
    """
    if answers:
        given = {"ids": list(answers), "reasons": [_short(reason) for reason in answers.values()]}
        connection.execute(_ANSWERED, {"status": status, **given})
        if status not in ("refused", "waiting"):
            connection.execute(_LETTERS_GONE, {"ids": list(answers)})


def nameless(reason: str, *values: str) -> str:
    """A destination's reason without whom it was about."""
    for value in values:
        reason = reason.replace(value, "[removed]")
    return reason


def _short(reason: str | None) -> str | None:
    return None if reason is None else reason[:_REASON_CHARACTERS]


_REPORT = text(
    """
    SELECT request_id, destinations.slug, identity_type, status, reason
    FROM privacy_answers JOIN destinations ON destinations.id = destination_id
    WHERE request_id = ANY(CAST(:requests AS bigint[]))
    ORDER BY request_id, destinations.slug, privacy_answers.id
    """
)


def answers(connection: Connection, requests: Sequence[int]) -> list[Answer]:
    """What destinations said to these requests, in the order of requests and slugs."""
    rows = connection.execute(_REPORT, {"requests": list(requests)})
    return [
        Answer(request_id=row[0], destination=row[1], identity_type=row[2], status=row[3], reason=row[4])
        for row in rows
    ]


_OPEN = text(
    """
    SELECT destinations.id, destinations.slug, destinations.paused_at IS NOT NULL AS is_paused,
           count(*) FILTER (WHERE status = 'waiting') AS waiting, count(*) FILTER (WHERE status = 'refused') AS refused,
           min(asked_at) AS since
    FROM privacy_answers JOIN destinations ON destinations.id = destination_id
    WHERE status IN ('waiting', 'refused')
    GROUP BY destinations.id ORDER BY destinations.slug
    """
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Open:
    """How many identifiers a destination has still to forget, or refused to."""

    destination: str
    destination_id: int
    is_paused: bool
    waiting: int
    refused: int


def still_open(connection: Connection) -> list[Open]:
    """By destination, those with something open."""
    return [
        Open(
            destination=row.slug,
            destination_id=row.id,
            is_paused=row.is_paused,
            waiting=row.waiting,
            refused=row.refused,
        )
        for row in connection.execute(_OPEN)
    ]
