"""From a changed snapshot to messages: the one path, for every cause and every scope."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final, TypeAlias

import orjson
from sqlalchemy import Connection

from engage_sync.database import locks, pipeline
from engage_sync.database.locks import LockClass
from engage_sync.database.pipeline import Query
from engage_sync.definitions.language import tree
from engage_sync.definitions.versions import StoredDefinition
from engage_sync.outbox import enqueue
from engage_sync.outbox.enqueue import NewMessage, Priority
from engage_sync.snapshots import telling
from engage_sync.snapshots.telling import Channel, Telling

Alike: TypeAlias = Callable[[Any, Any], bool]
NOBODY_READS: Final[Mapping[int, Alike]] = MappingProxyType({})


def channels(definition: StoredDefinition, destinations: Mapping[str, int]) -> list[Channel]:
    """How a definition is told, by the ids of destinations. Destinations that aren't configured are left out."""
    found = []
    for slug, tells in sorted(definition.spec.destinations.items()):
        if slug not in destinations:
            continue
        if tells.identify:
            found.append(_channel(definition, destinations[slug], "identify"))
        if tells.entered is not None or tells.computed is not None:
            found.append(_channel(definition, destinations[slug], "track"))
    return found


def nothing(definition: StoredDefinition) -> str:
    """What tells that there is no membership or value any more, as JSON text."""
    if definition.kind == "audience":
        return "false"
    asked = definition.spec.tree
    match asked.of if isinstance(asked, tree.OfAccounts) else asked:
        case tree.SqlRows(columns=columns, gone=gone):
            return orjson.dumps(dict.fromkeys((*gone, *columns))).decode()
        case tree.Aggregate(reducer=tree.Count() | tree.UniqueCount()):
            return "0"
        case tree.Aggregate(reducer=tree.Sum()):
            return "0.0"
        case tree.Aggregate(reducer=tree.Unique()):
            return "[]"
        case _:
            return "null"


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """What one definition may have to tell of these profiles, found by this run; those `moved` hold new identities."""

    definition: StoredDefinition
    channels: Sequence[Channel]
    profiles: Sequence[int]
    moved: Sequence[int]
    run: int


def tell(
    connection: Connection,
    jobs: Sequence[Job],
    *,
    after: Sequence[Query[Any]] = (),
    as_of: datetime,
    priority: Priority,
    alike: Mapping[int, Alike] = NOBODY_READS,
    emails_change: bool = False,
) -> list[NewMessage]:
    """Enqueue what these profiles' identities must be told; returns the messages.

    In the transaction that writes the snapshots, under the definitions' locks: `after` these queries, which write them.
    `alike` says of a destination, by its id, whether what it holds is what it would be told. `emails_change`: a
    destination may be told to change somebody's email, after which the old one must not be told anything.
    """
    moved = [(job.definition.id, profile) for job in jobs for profile in job.moved]
    all_channels = [channel for job in jobs for channel in job.channels]
    affected = [(job.definition.id, profile) for job in jobs for profile in job.profiles]
    queries = [*after, *([telling.following(moved)] if moved else [])]
    if emails_change:
        # Before anything is written: whoever changes an email waits for this transaction, and has written nothing yet.
        queries.insert(0, locks.sharing(LockClass.EMAIL_CHANGE))
    if not all_channels or not affected:
        pipeline.ask_each(connection, queries)
        return []
    needed: list[Telling] = pipeline.ask_each(connection, [*queries, telling.needing(all_channels, affected)])[-1]
    agreed = [each for each in needed if each.is_adopted and _agrees(each, alike)]
    telling.agree(connection, agreed)
    settled = {telling.key(each) for each in agreed}
    needed = [each for each in needed if telling.key(each) not in settled]
    if not needed:
        return []
    replaceable = {_address(each) for each in needed if each.enqueued is not None and each.call_type == "identify"}
    withdrawn = enqueue.withdraw(connection, sorted(replaceable))
    quiet = [each for each in needed if each.succeeded or (_taken_back(each, withdrawn) and each.is_settled)]
    silent = {telling.key(each) for each in quiet}
    saying = [each for each in needed if telling.key(each) not in silent]
    telling.quiet(connection, quiet)
    versions = telling.enqueued(connection, saying)
    by_id = {job.definition.id: job for job in jobs}
    messages = [
        NewMessage(
            definition_id=each.definition_id,
            definition_version=by_id[each.definition_id].definition.version,
            run_id=by_id[each.definition_id].run,
            destination_id=each.destination_id,
            profile_id=each.profile_id,
            identity_type=each.identity_type,
            identity_value=each.identity_value,
            call_type=each.call_type,
            value=each.value,
            told_version=versions[telling.key(each)],
        )
        for each in saying
    ]
    enqueue.append(connection, messages, as_of=as_of, priority=priority)
    return messages


def take_as_told(connection: Connection, jobs: Sequence[Job], *, after: Sequence[Query[Any]] = ()) -> None:
    """What these profiles' identities must be told, they count as having been told: nothing is sent.

    In the transaction that writes the snapshots, as `tell`.
    """
    channels = [channel for job in jobs for channel in job.channels]
    affected = [(job.definition.id, profile) for job in jobs for profile in job.profiles]
    if not channels or not affected:
        pipeline.ask_each(connection, after)
        return
    needed: list[Telling] = pipeline.ask_each(connection, [*after, telling.needing(channels, affected)])[-1]
    telling.suppose(connection, [each for each in needed if each.enqueued is None and not each.succeeded])


def _channel(definition: StoredDefinition, destination: int, call_type: str) -> Channel:
    return Channel(
        definition_id=definition.id,
        destination_id=destination,
        call_type=call_type,
        nothing=nothing(definition),
        is_audience=definition.kind == "audience",
    )


def _address(each: Telling) -> enqueue.Address:
    return (each.definition_id, each.destination_id, each.profile_id, each.identity_type, each.identity_value)


def _agrees(each: Telling, alike: Mapping[int, Alike]) -> bool:
    says_alike = alike.get(each.destination_id)
    if says_alike is None or each.succeeded or each.confirmed is None:
        return False
    return says_alike(orjson.loads(each.value), orjson.loads(each.confirmed))


def _taken_back(each: Telling, withdrawn: set[enqueue.Address]) -> bool:
    return each.call_type == "identify" and _address(each) in withdrawn
