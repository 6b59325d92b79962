"""The end of an attempt: taken, failed for good, or to be tried again.

Writes `messages`, `delivered` and `dead_letters`; `told` by way of snapshots/. Only what lies in a lane that is
still this worker's is settled: another one may have begun the message anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import orjson
from sqlalchemy import Connection, text

from engage_sync.database import channels, pipeline
from engage_sync.database.pipeline import Query
from engage_sync.messages.forwarded import EMAIL_CHANGE, FORGET
from engage_sync.messages.message import Message
from engage_sync.outbox import calls, forgetting
from engage_sync.profiles import store
from engage_sync.snapshots import emails, settled
from engage_sync.snapshots.settled import Ended, ToldKey

# Enough to see what a destination complains of; some answer with whole pages.
ANSWER_BYTES = 10_000
_REASON_CHARACTERS = 2_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Taken:
    """The destination took it; or `skipped`: there was nothing to send, on purpose.

    `withheld`: it was kept from being sent, and so the identity wasn't told.
    """

    message: Message
    skipped: bool = False
    withheld: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Failed:
    """It will never succeed: a dead letter. `is_unknown`: an unanswered request may have arrived all the same.

    `request` and `answer` must not hold a credential.
    """

    message: Message
    reason: str
    request: Any = None
    answer: bytes | None = field(default=None, repr=False)
    is_unknown: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Postponed:
    """To be sent again. `unanswered`: it stays started, and so waits until its request can't be on its way any more."""

    message: Message
    reason: str
    unanswered: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Unsent:
    """As if it had never been started: it is not to blame."""

    message: Message


Settlement: TypeAlias = Taken | Failed | Postponed | Unsent


@dataclass(frozen=True, slots=True)
class Settled:
    """By message id: settled; `busy`: somebody holds what the identity was told, try again; the rest was not ours.

    `beside` are the answers to what was asked beside.
    """

    done: set[int]
    busy: set[int]
    stale: set[int]
    beside: Sequence[Any] = ()


_HOLD_WORKER = text("SELECT id FROM workers WHERE id = :worker FOR KEY SHARE")
# Not by the index of workers' lanes, as an equality would: it is expected to give one lane, and a worker that delivers
# in bulk has thousands, each of which would be looked at for each message.
_OURS = """
    DELETE FROM messages USING lanes
    WHERE messages.id = ANY(CAST(:ids AS bigint[]))
      AND lanes.profile_id = messages.profile_id AND lanes.destination_id = messages.destination_id
      AND lanes.worker_id IS NOT DISTINCT FROM :worker
    RETURNING messages.*
"""
_TAKEN = text(
    "WITH gone AS ("  # noqa: S608 - constants of this module
    + _OURS
    + """), kept AS (
      INSERT INTO delivered (id, destination_id, profile_id, definition_id, definition_version, run_id, identity_type,
                             identity_value, call_type, value, told_version, as_of, enqueued_at, attempts, source_id,
                             in_bulk)
      SELECT id, destination_id, profile_id, definition_id, definition_version, run_id, identity_type, identity_value,
             call_type, value, told_version, as_of, enqueued_at, attempts, source_id, coalesce(in_bulk, false)
      FROM gone WHERE id <> ALL(CAST(:unsent AS bigint[])) AND call_type <> 'forget'
    ), told_now AS (
      -- A forwarded call touches nothing of what was told.
      SELECT * FROM gone WHERE definition_id IS NOT NULL AND id <> ALL(CAST(:withheld AS bigint[]))
    ), confirmed AS (
    """
    + settled.confirming("told_now")
    + """)
    SELECT id, profile_id, identity_value, identity_type, destination_id, definition_id, call_type, told_version,
           CASE WHEN call_type = 'forget' OR id = ANY(CAST(:withheld AS bigint[])) THEN value::text END AS value
    FROM gone
    """
)
_FAILED = text(
    "WITH gone AS ("  # noqa: S608 - constants of this module
    + _OURS
    + """), kept AS (
      INSERT INTO dead_letters (message_id, destination_id, profile_id, definition_id, definition_version, run_id,
                                identity_type, identity_value, call_type, value, told_version, as_of, attempts,
                                source_id, call, reason, request, answer)
      SELECT gone.id, gone.destination_id, gone.profile_id, gone.definition_id, gone.definition_version, gone.run_id,
             gone.identity_type, gone.identity_value, gone.call_type, gone.value, gone.told_version, gone.as_of,
             gone.attempts, gone.source_id, gone.call, failed.reason, failed.request, failed.answer
      FROM gone
      JOIN unnest(CAST(:ids AS bigint[]), CAST(:reasons AS text[]), CAST(:requests AS jsonb[]),
                  CAST(:answers AS bytea[])) AS failed (id, reason, request, answer) USING (id)
      ORDER BY gone.id
    )
    SELECT id, profile_id, identity_value, identity_type, destination_id, definition_id, call_type, told_version,
           value::text
    FROM gone
    """
)
_POSTPONED = text(
    """
    UPDATE messages
    SET last_error = postponed.reason, started_at = CASE WHEN postponed.unanswered THEN messages.started_at END
    FROM unnest(CAST(:ids AS bigint[]), CAST(:reasons AS text[]), CAST(:unanswered AS boolean[]))
      AS postponed (id, reason, unanswered), lanes
    WHERE messages.id = postponed.id AND lanes.worker_id IS NOT DISTINCT FROM :worker
      AND lanes.profile_id = messages.profile_id AND lanes.destination_id = messages.destination_id
    RETURNING messages.id
    """
)
_UNSENT = text(
    """
    UPDATE messages
    SET started_at = NULL, attempts = greatest(messages.attempts - 1, 0),
        first_started_at = CASE WHEN messages.attempts > 1 THEN messages.first_started_at END,
        in_bulk = CASE WHEN messages.attempts > 1 THEN messages.in_bulk END
    FROM lanes
    WHERE messages.id = ANY(CAST(:ids AS bigint[])) AND messages.started_at IS NOT NULL
      AND lanes.worker_id IS NOT DISTINCT FROM :worker
      AND lanes.profile_id = messages.profile_id AND lanes.destination_id = messages.destination_id
    RETURNING messages.id
    """
)


def settle(
    connection: Connection, worker_id: int, settlements: Sequence[Settlement], *, beside: Sequence[Query[Any]] = ()
) -> Settled:
    """Write down how attempts ended, in the caller's transaction; say which were still ours to settle.

    `beside` are queries that go along before anything is written, and cost no round trip of their own.
    """
    ending = [each for each in settlements if isinstance(each, Taken | Failed)]
    lives, held, *answers = pipeline.ask_each(
        connection,
        [
            Query(_HOLD_WORKER, {"worker": worker_id}, bool),
            settled.locking({key for each in ending if (key := told_key(each.message))}),
            *beside,
        ],
    )
    if not lives:
        return Settled(set(), set(), {each.message.id for each in settlements}, tuple(answers))
    busy = {each.message.id for each in ending if told_key(each.message) in held} if held else set()
    free = [each for each in settlements if each.message.id not in busy]
    done = (
        _take(connection, worker_id, [each for each in free if isinstance(each, Taken)])
        | _fail(connection, worker_id, [each for each in free if isinstance(each, Failed)])
        | _postpone(connection, worker_id, [each for each in free if isinstance(each, Postponed)])
        | _unsend(connection, worker_id, [each for each in free if isinstance(each, Unsent)])
    )
    return Settled(done, busy, {each.message.id for each in free} - done, tuple(answers))


def told_key(message: Message) -> ToldKey | None:
    """What the identity was told by this message is found by; None where it is no definition's."""
    if message.definition_id is None:
        return None
    return ToldKey(
        message.identity_value,
        message.identity_type,
        message.destination_id,
        message.definition_id,
        message.call_type,
    )


def _take(connection: Connection, worker_id: int, taken: Sequence[Taken]) -> set[int]:
    if not taken:
        return set()
    withheld = {each.message.id for each in taken if each.withheld}
    given = {
        "ids": [each.message.id for each in taken],
        "unsent": [each.message.id for each in taken if each.skipped or each.withheld],
        "withheld": sorted(withheld),
        "worker": worker_id,
    }
    rows = pipeline.rows(connection, _TAKEN, given)
    kept_back = [row for row in rows if row.id in withheld]
    _split_emails(connection, [row for row in kept_back if row.call_type == EMAIL_CHANGE])
    # Whoever looks next must not take it for told, nor for what was confirmed before.
    untold = [row for row in kept_back if row.definition_id is not None]
    settled.withdraw(connection, [_ended(row, is_unknown=True) for row in untold])
    _disclaim(connection, untold)
    _answer(connection, rows, {each.message.id: each for each in taken})
    return {row.id for row in rows}


def _fail(connection: Connection, worker_id: int, failed: Sequence[Failed]) -> set[int]:
    if not failed:
        return set()
    given = {
        "ids": [each.message.id for each in failed],
        "reasons": [each.reason[:_REASON_CHARACTERS] for each in failed],
        "requests": [None if each.request is None else orjson.dumps(each.request).decode() for each in failed],
        "answers": [None if each.answer is None else each.answer[:ANSWER_BYTES] for each in failed],
        "worker": worker_id,
    }
    rows = connection.execute(_FAILED, given).all()
    unknown = {each.message.id for each in failed if each.is_unknown}
    _split_emails(connection, [row for row in rows if row.call_type == EMAIL_CHANGE])
    told = [row for row in rows if row.definition_id is not None]
    settled.withdraw(connection, [_ended(row, row.id in unknown) for row in told])
    _disclaim(connection, told)
    _answer(connection, rows, {each.message.id: each for each in failed})
    return {row.id for row in rows}


def _answer(connection: Connection, rows: Sequence[Any], ended: Mapping[int, Taken | Failed]) -> None:
    """What a destination said that was to forget somebody, goes on record without whom it was about."""
    by_status: dict[str, dict[int, str | None]] = {}
    for row in rows:
        if row.call_type != FORGET:
            continue
        status: str
        reason: str | None
        match ended[row.id]:
            case Taken(withheld=True):
                status, reason = "withheld", "allow lets no such email through"
            case Taken(skipped=True):
                status, reason = "unsupported", None
            case Taken():
                status, reason = "taken", None
            case Failed(reason=said):
                status, reason = "refused", forgetting.nameless(said, row.identity_value)
        by_status.setdefault(status, {})[int(row.value)] = reason
    for status, answers in by_status.items():
        forgetting.answered(connection, status, answers)


def _disclaim(connection: Connection, untold: Sequence[Any]) -> None:
    """Behind what wasn't taken an email may be changing, and the new one counts as told: it is looked at again."""
    changes = calls.email_changes(connection, [row.profile_id for row in untold]) if untold else []
    moved: set[int] = set()
    for row in untold:
        email = _email_since(row, changes)
        if email is not None:
            emails.disclaim(connection, _ended(row).key._replace(identity_value=email), row.told_version)
            moved.add(row.profile_id)
    _look_again(connection, sorted(moved))


def _email_since(row: Any, changes: Sequence[Any]) -> str | None:
    """Which email a message's own gives way to by the changes behind it, None where it stays."""
    email: str = row.identity_value
    found: str | None = None
    for change in changes:
        is_behind = change.id > row.id and change.destination_id == row.destination_id
        if is_behind and change.profile_id == row.profile_id and change.before == email:
            email = found = change.after
    return found


def _split_emails(connection: Connection, changes: Sequence[Any]) -> None:
    """An email that didn't change in a destination is two users there: the person's definitions look at both again."""
    for row in changes:
        before = orjson.loads(row.value)
        emails.split(connection, before=before, after=row.identity_value, destination_id=row.destination_id)
    _look_again(connection, [row.profile_id for row in changes])


def _look_again(connection: Connection, profiles: Sequence[int]) -> None:
    if profiles:
        store.touch(connection, profiles)
        channels.notify(connection, channels.TOUCHES)


def _postpone(connection: Connection, worker_id: int, postponed: Sequence[Postponed]) -> set[int]:
    if not postponed:
        return set()
    given = {
        "ids": [each.message.id for each in postponed],
        "reasons": [each.reason[:_REASON_CHARACTERS] for each in postponed],
        "unanswered": [each.unanswered for each in postponed],
        "worker": worker_id,
    }
    return {row.id for row in pipeline.rows(connection, _POSTPONED, given)}


def _unsend(connection: Connection, worker_id: int, unsent: Sequence[Unsent]) -> set[int]:
    if not unsent:
        return set()
    given = {"ids": [each.message.id for each in unsent], "worker": worker_id}
    return {row.id for row in pipeline.rows(connection, _UNSENT, given)}


def _ended(row: Any, is_unknown: bool = False) -> Ended:
    key = ToldKey(row.identity_value, row.identity_type, row.destination_id, row.definition_id, row.call_type)
    return Ended(key=key, told_version=row.told_version, value=row.value, is_unknown=is_unknown)
