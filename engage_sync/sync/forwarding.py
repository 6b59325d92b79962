"""Source calls on their way to destinations: each enters the outbox where it is resolved, under its own profile."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import orjson
from sqlalchemy import Connection

from engage_sync.database import binary
from engage_sync.ingest import accept
from engage_sync.ingest.calls import IncomingCall
from engage_sync.messages import forwarded
from engage_sync.outbox import calls as outbox_calls
from engage_sync.outbox.calls import NewCall
from engage_sync.profiles.facts import Facts
from engage_sync.profiles.resolver import Resolved


@dataclass(frozen=True, kw_only=True, slots=True)
class Routes:
    """Which sources' own calls go where: ids of destinations by the id of a source."""

    sources: Mapping[int, Sequence[int]] = field(default_factory=dict)


NOWHERE = Routes()


def forward(connection: Connection, routes: Routes, resolved: Resolved, calls: Sequence[IncomingCall]) -> None:
    """Enqueue what a batch has to pass on, in its order, in the transaction that resolved it.

    `calls` are those that the facts' positions count; none where what was resolved is not to be passed on.
    """
    if calls and routes.sources:
        outbox_calls.append(connection, list(_forwarded(routes, resolved.homes(), calls)))


def _forwarded(routes: Routes, homes: Iterable[tuple[Facts, int]], calls: Sequence[IncomingCall]) -> Iterator[NewCall]:
    for facts, profile in homes:
        destinations = routes.sources.get(facts.source_id, ())
        body = forwarded.forwardable(calls[facts.position].body) if destinations else None
        if body is None:
            continue
        text = accept.encode(body).decode()
        identity_type, identity_value = facts.identifiers[0]
        for destination in destinations:
            yield NewCall(
                destination_id=destination,
                profile_id=profile,
                source_id=facts.source_id,
                identity_type=identity_type,
                identity_value=identity_value,
                call_type=body["type"],
                value=orjson.dumps(forwarded.known_as(body)).decode(),
                call=text,
                as_of=binary.instant(facts.timestamp),
            )
