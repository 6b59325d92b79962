"""Resolving a batch of calls: who they are about, and writing down what they say.

Everything happens in the caller's transaction, under the advisory lock RESOLVER. The result equals that of resolving
the calls one by one, except that profiles which appear and are merged away within one batch leave no public id behind
(nobody can have seen it).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from engage_sync import errors
from engage_sync.database import locks
from engage_sync.database.locks import LockClass
from engage_sync.ingest.calls import IncomingCall
from engage_sync.profiles import accounts, store, suppression, traits
from engage_sync.profiles import facts as reading
from engage_sync.profiles.accounts import Grouped
from engage_sync.profiles.facts import Facts
from engage_sync.profiles.graph import EmailChange, Graph, Node
from engage_sync.profiles.identifiers import ANONYMOUS_ID, EMAIL, USER_ID, Identifier
from engage_sync.profiles.suppression import DatabaseHalf

Rejection = tuple[int, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Resolved:
    """What became of a batch.

    `rejected` are (index of the call, reason); `adjusted_timestamps` counts calls whose time of arrival stands in for
    an unusable timestamp; `merges` are (lost profile, kept profile), each lost one once, with its final home: the
    caller moves what later stages hold. `touched` and `created` count profiles. `nodes` are the new calls in their
    order, and whom each is about (see `homes`); `email_changes` are in the order of their calls. `suppressed` counts
    calls of people from whom nothing is taken in; `half` is what they are asked for with, None where there are none.
    """

    stored: int
    duplicates: int
    suppressed: int
    half: DatabaseHalf | None
    rejected: list[Rejection]
    adjusted_timestamps: int
    merges: list[tuple[int, int]]
    touched: int
    created: int
    nodes: list[tuple[Facts, Node]]
    email_changes: list[EmailChange]

    def homes(self) -> Iterator[tuple[Facts, int]]:
        """Each new call with the id of its profile, in their order."""
        for facts, node in self.nodes:
            profile = node.root().id
            assert profile is not None
            yield facts, profile


def resolve(
    connection: Connection, calls: Sequence[IncomingCall], limits: Mapping[str, int], *, privacy_key: bytes = b""
) -> Resolved:
    """Resolve normalised calls in the order of their arrival. `limits`: how many identifiers of a type one may have."""
    found, rejected = read_facts(calls, limits)
    return resolve_facts(connection, found, limits, rejected, privacy_key=privacy_key)


def read_facts(calls: Iterable[IncomingCall], limits: Mapping[str, int]) -> tuple[list[Facts], list[Rejection]]:
    """The part of resolving that needs no database; a file's reader does it ahead, in a thread of its own."""
    found: list[Facts] = []
    rejected: list[Rejection] = []
    for position, call in enumerate(calls):
        read_one(call, position, limits, found, rejected)
    return found, rejected


def read_one(
    call: IncomingCall, position: int, limits: Mapping[str, int], found: list[Facts], rejected: list[Rejection]
) -> None:
    """Append the call's facts to `found`, or why there are none to `rejected`."""
    try:
        found.append(reading.read(call, position, limits))
    except errors.CallInvalid as invalid:
        rejected.append((position, str(invalid)))


def resolve_facts(
    connection: Connection,
    found: Sequence[Facts],
    limits: Mapping[str, int],
    rejected: list[Rejection],
    *,
    privacy_key: bytes = b"",
) -> Resolved:
    """The part of `resolve` that follows `read_facts`."""
    half = store.prepare(connection)
    silence = suppression.among(connection, half, privacy_key, suppression.of_facts(found))
    heard = suppression.hear(silence, found) if silence else found
    new = _without_duplicates(connection, heard)
    graph = _graph(connection, new, limits)
    nodes = [(call, graph.resolve(call)) for call in new]
    events = [(node, call.event_row) for call, node in nodes if call.event is not None]
    rows = traits.replay(graph.log, store.traits(connection, traits.needed(graph.log)))
    roots = list({id(node): node for node in map(Node.root, (*graph.holders.values(), *graph.created))}.values())
    created = [node for node in roots if node.id is None]
    for node, id_ in zip(created, store.new_ids(connection, len(created)), strict=True):
        node.id = id_
    merges = [(lost, node.id) for node in roots if node.id is not None for lost in node.lost_ids]
    for node in created:
        if not node.lost_ids:
            # All that is known of a new profile came with this batch, and says so by its own reasons: only definitions
            # that may hold of somebody without any fact have to look.
            node.reasons.discard("identity")
            node.reasons.add("created")
    made = {id(node) for node in created}
    if graph.email_changes:
        # Whoever enqueues reads the emails and commits under a share of it: no message to the old email comes after.
        locks.wait(connection, LockClass.EMAIL_CHANGE)
    store.move(connection, merges)
    accounts.move(connection, merges)
    store.write_profiles(
        connection, created, [node for node in roots if "identity" in node.reasons and id(node) not in made]
    )
    store.forget_identities(connection, graph.forgotten)
    store.write_identities(connection, graph.learnt)
    accounts.write(connection, [Grouped(node, call) for call, node in nodes if call.group_id is not None])
    touched = [node for node in roots if node.reasons]
    store.write_traits(connection, rows)
    store.write_events(connection, events)
    store.write_touches(connection, touched, [lost for lost, _ in merges])
    store.write_received(connection, new)
    return Resolved(
        stored=len(new),
        duplicates=len(heard) - len(new),
        suppressed=len(found) - len(heard),
        half=half,
        rejected=rejected,
        adjusted_timestamps=sum(call.is_adjusted for call in new),
        merges=merges,
        touched=len(touched),
        created=len(created),
        nodes=nodes,
        email_changes=graph.email_changes,
    )


def _without_duplicates(connection: Connection, found: Sequence[Facts]) -> list[Facts]:
    """The calls whose message id their source hasn't sent before; of several in the batch, the first."""
    by_source: dict[int, dict[bytes, Facts]] = {}
    for call in found:
        by_source.setdefault(call.source_id, {}).setdefault(call.digest, call)
    known = {source_id: store.seen(connection, source_id, list(calls)) for source_id, calls in by_source.items()}
    return [
        call
        for call in found
        if by_source[call.source_id][call.digest] is call and call.digest not in known[call.source_id]
    ]


def _graph(connection: Connection, calls: Sequence[Facts], limits: Mapping[str, int]) -> Graph:
    """The stored part of the graph that the calls concern."""
    holders = store.holders(connection, {identifier for call in calls for identifier in _candidates(call)})
    nodes = {profile_id: Node(id=profile_id, age=(0.0, profile_id)) for profile_id in holders.values()}
    # Only a call that names something new, or several profiles, can change the graph; others need no more than this.
    changing: dict[int, Node] = {}
    for call in calls:
        candidates = _candidates(call)
        held = set(map(holders.get, candidates))
        if len(held) > 1:
            changing.update((profile_id, nodes[profile_id]) for profile_id in held if profile_id is not None)
    store.load(connection, changing, emails=limits.get(EMAIL) == 1)
    return Graph(
        limits=limits,
        holders={identifier: nodes[profile_id] for identifier, profile_id in holders.items()},
        count_events=lambda ids: store.count_events(connection, ids),
    )


def _candidates(call: Facts) -> Sequence[Identifier]:
    if call.previous_id is None:
        return call.identifiers
    return (*call.identifiers, (ANONYMOUS_ID, call.previous_id), (USER_ID, call.previous_id))
