"""Suppress and forget: people from whom nothing is taken in and to whom nothing is sent, and whose data goes.

What is asked for is committed first, with the keyed hashes of all that somebody is known as: from then on calls are
dropped as they are resolved, nothing is enqueued, and nothing starts. In the same transaction what waits is withdrawn,
and destinations are asked to forget, in the person's order. Then their data goes (sync/erasing.py).
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import orjson
from sqlalchemy import Connection, Engine, text

from engage_sync import errors
from engage_sync.database import channels, locks
from engage_sync.destinations import queueing
from engage_sync.destinations.protocol import Destination, Refused, Skipped
from engage_sync.messages import forwarded
from engage_sync.outbox import erasing as outbox_erasing
from engage_sync.outbox import forgetting
from engage_sync.outbox.forgetting import Asking, NotAsked
from engage_sync.profiles import finding, identifiers, privacy, store, suppression
from engage_sync.profiles.identifiers import EMAIL, USER_ID, Identifier
from engage_sync.profiles.privacy import Kind
from engage_sync.sync import erasing, resolving
from engage_sync.sync.catalog import Context

# A transaction's worth: it holds the resolver up.
BATCH = 200
_LOST = text(
    """
    SELECT profile_id, lost_id FROM lost_profiles WHERE profile_id = ANY(CAST(:profiles AS bigint[])) ORDER BY lost_id
    """
)
Watch = Callable[[int, int], None]


@dataclass(kw_only=True, slots=True)
class Outcome:
    """What became of the people who were asked for.

    `requests` are the ids of what was put on record, or was and wasn't finished; `known` of these people had a profile.
    `already` were suppressed or forgotten before. `unfinished` are requests of which something may be left.
    """

    requests: list[int] = field(default_factory=list)
    known: int = 0
    unknown: int = 0
    already: int = 0
    withdrawn: int = 0
    deleted: Counter[str] = field(default_factory=Counter)
    unfinished: list[int] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True, slots=True)
class Undone:
    """`requests` were lifted, `forgotten` of them of people whose data is gone; to `profiles` may be sent again.

    `unknown` of the people aren't suppressed.
    """

    requests: list[int]
    forgotten: int
    unknown: int
    profiles: int


@dataclass(kw_only=True, slots=True)
class _Person:
    """`profile_id` is None for whom nobody knows; `known_as` is what they were asked for by, later all they are."""

    profile_id: int | None
    known_as: set[Identifier]
    lost: list[int] = field(default_factory=list)
    request_id: int = 0


def parse(asked: str) -> Identifier:
    """An identifier as people write it: `email:a@x.io`, `user_id:u1`, an email as it is, a profile's `use_…` id.

    Raises errors.UsageError.
    """
    type_, separator, value = asked.strip().partition(":")
    if not separator:
        type_, value = (EMAIL, type_) if "@" in type_ else (finding.PUBLIC_ID, type_)
    value = value.strip().lower() if type_ == EMAIL else value.strip()
    is_public = type_ == finding.PUBLIC_ID
    if not value or not type_ or (is_public and not value.startswith("use_")) or (type_ == EMAIL and "@" not in value):
        raise errors.UsageError(
            f"{asked!r} is no identifier. Expected an email, user_id:…, anonymous_id:… or a profile's use_… id."
        )
    if not is_public and identifiers.is_blocked(value):
        raise errors.UsageError(f"{asked!r} stands for nobody, so nobody can be suppressed by it.")
    return type_, value


def suppress(
    engine: Engine, context: Context, asked: Sequence[Identifier], asked_by: str, *, watch: Watch | None = None
) -> Outcome:
    """From now on nothing of these people is taken in, and nothing is sent to them. What is stored stays."""
    outcome = Outcome()
    for batch, done in _batches(asked):

        def begin(connection: Connection, batch: Sequence[Identifier] = batch) -> Outcome:
            return _begin(connection, context, Kind.SUPPRESS, batch, asked_by, {})

        _add(outcome, resolving.retried(engine, begin))
        if watch:
            watch(done, len(asked))
    return outcome


def forget(
    engine: Engine,
    context: Context,
    asked: Sequence[Identifier],
    asked_by: str,
    destinations: Mapping[str, Destination],
    *,
    watch: Watch | None = None,
) -> Outcome:
    """Suppress these people, delete all that is known of them, and have destinations forget them.

    Asking again goes on with what wasn't finished, and does nothing more.
    """
    outcome = Outcome()
    for batch, done in _batches(asked):

        def begin(connection: Connection, batch: Sequence[Identifier] = batch) -> Outcome:
            return _begin(connection, context, Kind.FORGET, batch, asked_by, destinations)

        begun = resolving.retried(engine, begin)
        begun.unfinished = erasing.erase(engine, begun.unfinished)
        _add(outcome, begun)
        if watch:
            watch(done, len(asked))
    with engine.connect() as connection:
        for request in privacy.load(connection, outcome.requests):
            outcome.deleted.update(request.deleted)
            outcome.withdrawn += request.withdrawn
    return outcome


def undo(engine: Engine, context: Context, asked: Sequence[Identifier], undone_by: str) -> Undone:
    """Take these people's calls in again, and tell them what is true; what was deleted stays deleted.

    Raises errors.UsageError where somebody is being forgotten just now.
    """

    def lift(connection: Connection) -> Undone:
        _lock(connection)
        key = suppression.hashing(connection, context.privacy_key)
        people = _people(connection, asked)
        _complete(connection, people)
        by = suppression.known(connection, key, {each for person in people for each in person.known_as})
        requests = sorted(set(by.values()))
        before = privacy.load(connection, requests)
        if any(each.finished_at is None for each in before):
            raise errors.UsageError("Somebody of them is being forgotten just now; forget them again to finish that.")
        suppression.lift(connection, requests)
        profiles = suppression.unmark(connection, requests)
        if profiles:
            store.touch(connection, profiles)
            channels.notify(connection, channels.TOUCHES)
        privacy.undo(connection, requests, undone_by)
        unknown = sum(1 for person in people if not person.known_as & by.keys())
        forgotten = sum(1 for each in before if each.kind is Kind.FORGET)
        return Undone(requests=requests, forgotten=forgotten, unknown=unknown, profiles=len(profiles))

    return resolving.retried(engine, lift)


def concerning(connection: Connection, context: Context, asked: Identifier) -> list[int]:
    """The request by which somebody is suppressed or forgotten now, if there is one."""
    half = suppression.half_if_needed(connection)
    if half is None:
        return []
    people = _people(connection, [asked])
    _complete(connection, people)
    key = suppression.hashing(connection, context.privacy_key)
    return sorted(set(suppression.known(connection, key, {each for one in people for each in one.known_as}).values()))


# --- one transaction ----------------------------------------------------------------------------------------------


def _begin(
    connection: Connection,
    context: Context,
    kind: Kind,
    asked: Sequence[Identifier],
    asked_by: str,
    destinations: Mapping[str, Destination],
) -> Outcome:
    """All that must hold from now on: what was resolved before is seen here, and whatever comes after sees this."""
    _lock(connection)
    key = suppression.hashing(connection, context.privacy_key)
    outcome = Outcome()
    new = _new(connection, key, kind, _people(connection, asked), outcome)
    if not new:
        return outcome
    _complete(connection, new)
    known = [person for person in new if person.profile_id is not None]
    outcome.known, outcome.unknown = len(known), len(new) - len(known)
    ids = privacy.open_requests(
        connection, kind, asked_by, [(each.profile_id is not None, _profiles(each)) for each in new]
    )
    for person, id_ in zip(new, ids, strict=True):
        person.request_id = id_
    suppression.write(connection, key, {each.request_id: each.known_as for each in new})
    suppression.mark(connection, {profile: each.request_id for each in known for profile in _profiles(each)})
    withdrawn = outbox_erasing.withdraw(connection, [profile for each in known for profile in _profiles(each)])
    counts = {each.request_id: sum(withdrawn.messages.get(profile, 0) for profile in _profiles(each)) for each in known}
    privacy.add(connection, {}, counts)
    outcome.requests += ids
    names = {identifier: each.request_id for each in new for identifier in each.known_as}
    if kind is Kind.FORGET:
        asking, not_asked = _plan(connection, context, new, destinations)
        forgetting.ask(connection, asking, withdrawn)
        forgetting.note(connection, not_asked)
        outcome.unfinished += ids
        erasing.name(connection, names)
    else:
        gone = outbox_erasing.mentions(connection, names, waiting_only=True)
        others = {request: rows.total() for request, rows in gone.items() if rows}
        privacy.add(connection, {}, others)
        outcome.withdrawn = sum(counts.values()) + sum(others.values())
    return outcome


def _lock(connection: Connection) -> None:
    locks.wait(connection, locks.LockClass.RESOLVER)
    locks.wait(connection, locks.LockClass.PRIVACY)


def _people(connection: Connection, asked: Sequence[Identifier]) -> list[_Person]:
    """Each once, whatever they are asked for by."""
    public = finding.by_public_ids(connection, [value for type_, value in asked if type_ == finding.PUBLIC_ID])
    holders = store.holders(connection, {each for each in asked if each[0] != finding.PUBLIC_ID})
    people: dict[object, _Person] = {}
    for identifier in asked:
        is_public = identifier[0] == finding.PUBLIC_ID
        profile = public.get(identifier[1]) if is_public else holders.get(identifier)
        if is_public and profile is None:
            raise errors.NotFound(f"There is no profile {identifier[1]}: a person nobody knows has no such id.")
        person = people.setdefault(profile or identifier, _Person(profile_id=profile, known_as=set()))
        if not is_public:
            person.known_as.add(identifier)
    return list(people.values())


def _complete(connection: Connection, people: Sequence[_Person]) -> None:
    """Find out all that those with a profile are known as, and what was merged into them."""
    known = {person.profile_id: person for person in people if person.profile_id is not None}
    for profile, found in outbox_erasing.identifiers(connection, list(known)).items():
        known[profile].known_as |= {each for each in found if not identifiers.is_blocked(each[1])}
    for profile, lost in connection.execute(_LOST, {"profiles": list(known)}):
        known[profile].lost.append(lost)


def _new(
    connection: Connection, key: suppression.Hashing, kind: Kind, people: Sequence[_Person], outcome: Outcome
) -> list[_Person]:
    """Those for whom it isn't done yet; requests that somebody began and that aren't finished go into the outcome."""
    by = suppression.known(connection, key, {each for person in people for each in person.known_as})
    before = {request.id: request for request in privacy.load(connection, sorted(set(by.values())))}
    found = []
    for person in people:
        requests = [before[by[each]] for each in sorted(person.known_as) if each in by]
        done = next((each for each in requests if kind is Kind.SUPPRESS or each.kind is Kind.FORGET), None)
        if done is None or (kind is Kind.FORGET and person.profile_id is not None and done.finished_at is not None):
            found.append(person)
        elif kind is Kind.FORGET and done.finished_at is None:
            outcome.unfinished.append(done.id)
            outcome.requests.append(done.id)
        else:
            outcome.already += 1
    return found


def _profiles(person: _Person) -> list[int]:
    return [] if person.profile_id is None else [person.profile_id, *person.lost]


# --- destinations -------------------------------------------------------------------------------------------------


def _plan(
    connection: Connection, context: Context, people: Sequence[_Person], destinations: Mapping[str, Destination]
) -> tuple[list[Asking], list[NotAsked]]:
    """Every configured destination is asked for every email and user id: also what it was never told may be there."""
    told = outbox_erasing.told_at(connection, [profile for each in people for profile in _profiles(each)])
    in_line, taken = Counter(forgetting.waiting(connection)), forgetting.taken_within_a_day(connection)
    strangers = [person for person in people if person.profile_id is None]
    lanes = dict(zip(map(id, strangers), store.new_ids(connection, len(strangers)), strict=True))
    asking: list[Asking] = []
    not_asked: list[NotAsked] = []
    for person in people:
        lane = person.profile_id if person.profile_id is not None else lanes[id(person)]
        for slug, destination in sorted(destinations.items()):
            id_ = context.destinations[slug]
            for identifier in sorted(each for each in person.known_as if each[0] in (EMAIL, USER_ID)):
                call = forwarded.forget(identifier, f"forget_{uuid.uuid4().hex}")
                match destination.requests(call):
                    case Skipped(reason=reason):
                        not_asked.append(_not_asked(person, id_, None, "unsupported", reason))
                        break
                    case Refused(reason=reason):
                        not_asked.append(_not_asked(person, id_, identifier[0], "impossible", reason))
                    case requests:
                        queue = queueing.of_budget(destination, requests[0].budget)
                        asking.append(
                            Asking(
                                request_id=person.request_id,
                                profile_id=lane,
                                destination_id=id_,
                                identifier=identifier,
                                call=orjson.dumps(call).decode(),
                                # Due one after the other, at the rate at which they can go: else they would fill a
                                # worker's hands, and others would wait.
                                seconds=queue.seconds(in_line[id_], taken.get(id_, 0)),
                            )
                        )
                        in_line[id_] += 1
        configured = {context.destinations[slug] for slug in destinations}
        for id_ in sorted({id_ for profile in _profiles(person) for id_ in told.get(profile, ())} - configured):
            not_asked.append(
                _not_asked(person, id_, None, "unconfigured", "it was told of them, and isn't in engage.yml")
            )
    return asking, not_asked


def _not_asked(person: _Person, destination: int, identity_type: str | None, status: str, reason: str) -> NotAsked:
    return NotAsked(
        request_id=person.request_id,
        destination_id=destination,
        identity_type=identity_type,
        status=status,
        reason=reason,
    )


# --- small things -------------------------------------------------------------------------------------------------


def _batches(asked: Sequence[Identifier]) -> list[tuple[Sequence[Identifier], int]]:
    """Slices, and how many are done with each."""
    return [(asked[start : start + BATCH], min(start + BATCH, len(asked))) for start in range(0, len(asked), BATCH)]


def _add(outcome: Outcome, more: Outcome) -> None:
    outcome.requests += more.requests
    outcome.known += more.known
    outcome.unknown += more.unknown
    outcome.already += more.already
    outcome.withdrawn += more.withdrawn
    outcome.unfinished += more.unfinished
