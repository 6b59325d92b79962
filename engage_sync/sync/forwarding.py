"""What resolving a batch passes on to destinations: source calls, and emails that took another's place.

Each enters the outbox in the transaction that resolved it and under the profile that it was resolved to, so that a
person's calls, and what their audiences say, are one order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import orjson
from sqlalchemy import Connection

from engage_sync.database import binary
from engage_sync.ingest import accept
from engage_sync.ingest.calls import IncomingCall
from engage_sync.messages import forwarded
from engage_sync.outbox import calls as outbox_calls
from engage_sync.outbox.calls import NewCall
from engage_sync.profiles import suppression
from engage_sync.profiles.facts import Facts
from engage_sync.profiles.graph import EmailChange
from engage_sync.profiles.identifiers import EMAIL
from engage_sync.profiles.resolver import Resolved
from engage_sync.profiles.suppression import DatabaseHalf
from engage_sync.snapshots import emails


@dataclass(frozen=True, kw_only=True, slots=True)
class Routes:
    """Which sources' own calls go where: ids of destinations by the id of a source.

    `email_changes` are the destinations that change the email of a user, where a profile's one email is replaced.
    """

    sources: Mapping[int, Sequence[int]] = field(default_factory=dict)
    email_changes: Sequence[int] = ()


NOWHERE = Routes()


def pass_on(
    connection: Connection,
    routes: Routes,
    resolved: Resolved,
    calls: Sequence[IncomingCall],
    *,
    privacy_key: bytes = b"",
) -> None:
    """Enqueue what a batch has to pass on, in its order, in the transaction that resolved it.

    `calls` are those that the facts' positions count; none where what was resolved is not to be passed on. Nor is what
    would reach somebody suppressed, whoever said it.
    """
    changes = {change.position: change for change in resolved.email_changes} if routes.email_changes else {}
    if not changes and not (calls and routes.sources):
        return
    waiting: list[NewCall] = []
    for facts, profile in resolved.homes():
        change = changes.get(facts.position)
        if change is not None:
            waiting = _without_suppressed(connection, waiting, resolved.half, privacy_key)
            outbox_calls.append(connection, waiting)
            _change_email(connection, routes.email_changes, change, profile, binary.instant(facts.timestamp))
            waiting = []
        if calls:
            waiting += _forwarded(routes, facts, profile, calls[facts.position])
    outbox_calls.append(connection, _without_suppressed(connection, waiting, resolved.half, privacy_key))


def _without_suppressed(
    connection: Connection, waiting: list[NewCall], half: DatabaseHalf | None, privacy_key: bytes
) -> list[NewCall]:
    if half is None or not waiting:
        return waiting
    named = [forwarded.addressed(orjson.loads(each.call)) for each in waiting]
    silence = suppression.among(connection, half, privacy_key, set().union(*named))
    return [each for each, theirs in zip(waiting, named, strict=True) if not theirs & silence.identifiers]


def _forwarded(routes: Routes, facts: Facts, profile: int, call: IncomingCall) -> list[NewCall]:
    destinations = routes.sources.get(facts.source_id, ())
    body = forwarded.forwardable(call.body) if destinations else None
    if body is None:
        return []
    text, known_as = accept.encode(body).decode(), orjson.dumps(forwarded.known_as(body)).decode()
    identity_type, identity_value = facts.identifiers[0]
    return [
        NewCall(
            destination_id=destination,
            profile_id=profile,
            source_id=facts.source_id,
            identity_type=identity_type,
            identity_value=identity_value,
            call_type=body["type"],
            value=known_as,
            call=text,
            as_of=binary.instant(facts.timestamp),
        )
        for destination in destinations
    ]


def _change_email(
    connection: Connection, destinations: Sequence[int], change: EmailChange, profile: int, as_of: datetime
) -> None:
    """Destinations change the email of their user, and what the old one was told counts for the new one.

    Where the new email was told something before, it is a user of its own: there the old one is told the end, and the
    new one what is true, as anywhere else.
    """
    changing = emails.strangers(connection, change.after, destinations)
    if not changing:
        return
    call = forwarded.email_change(before=change.before, after=change.after, user_id=change.user_id)
    changed = [
        NewCall(
            destination_id=destination,
            profile_id=profile,
            source_id=None,
            identity_type=EMAIL,
            identity_value=change.after,
            call_type=call["type"],
            value=orjson.dumps(change.before).decode(),
            call=orjson.dumps(call).decode(),
            as_of=as_of,
        )
        for destination in changing
    ]
    outbox_calls.append(connection, changed)
    under_way = outbox_calls.readdress(
        connection, before=change.before, after=change.after, profile_id=profile, destinations=changing
    )
    emails.move(
        connection,
        before=change.before,
        after=change.after,
        profile_id=profile,
        destinations=changing,
        under_way=under_way,
    )
