"""Who is suppressed: nothing that they do is taken in, and nothing is sent to them.

Writes `suppressions` (keyed hashes of identifiers) and `suppressed_profiles` (whose profile is there). Half of the key
lies in the database, the other half in the environment where ENGAGE_SYNC_PRIVACY_KEY is set: then whoever has
only the database can't find out by trial whose hashes these are.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from sqlalchemy import Connection, text

from engage_sync import errors
from engage_sync.database import arrays, pipeline
from engage_sync.profiles import identifiers
from engage_sync.profiles.facts import Facts
from engage_sync.profiles.identifiers import ANONYMOUS_ID, EMAIL, KNOWING, USER_ID, Identifier

_HALF = text("SELECT privacy_salt::text AS salt, privacy_check::text AS kept_check FROM installation")
_HALF_IF_NEEDED = text(
    """
    SELECT privacy_salt::text AS salt, privacy_check::text AS kept_check FROM installation
    WHERE EXISTS (SELECT FROM suppressions)
    """
)
_FIX_KEY = text(
    "UPDATE installation SET privacy_check = CAST(:check AS uuid) WHERE NOT EXISTS (SELECT FROM suppressions)"
)
_KNOWN = text(
    """
    SELECT digest::text, request_id FROM suppressions
    WHERE digest = ANY(CAST(CAST(:digests AS text) AS uuid[]))
    """
)
_WRITE = text(
    """
    INSERT INTO suppressions (digest, request_id)
    SELECT DISTINCT ON (digest) digest, request_id
    FROM unnest(CAST(CAST(:digests AS text) AS uuid[]), CAST(:requests AS bigint[])) AS silent (digest, request_id)
    ORDER BY digest, request_id
    ON CONFLICT (digest) DO UPDATE SET request_id = excluded.request_id
    """
)
_MARK = text(
    """
    INSERT INTO suppressed_profiles (profile_id, request_id)
    SELECT * FROM unnest(CAST(:profiles AS bigint[]), CAST(:requests AS bigint[]))
    ON CONFLICT (profile_id) DO UPDATE SET request_id = excluded.request_id
    """
)
_LIFT = text("DELETE FROM suppressions WHERE request_id = ANY(CAST(:requests AS bigint[]))")
_UNMARK = text(
    "DELETE FROM suppressed_profiles WHERE request_id = ANY(CAST(:requests AS bigint[])) RETURNING profile_id"
)
_IS_MARKED = text("SELECT EXISTS (SELECT FROM suppressed_profiles WHERE profile_id = :profile)")
_COUNT = text("UPDATE installation SET suppressed_calls = suppressed_calls + :calls")


@dataclass(frozen=True, slots=True)
class DatabaseHalf:
    """The half of the key that lies in the database, and what tells whether the other half is the one it was."""

    salt: str = field(repr=False)
    check: str | None


@dataclass(frozen=True, slots=True)
class Hashing:
    """How identifiers become what is kept of them."""

    _key: bytes = field(repr=False)

    def digest(self, identifier: Identifier) -> str:
        """32 hex digits."""
        type_, value = identifier
        return blake2b(f"{type_}\0{value}".encode(), key=self._key, digest_size=16).hexdigest()

    @property
    def check(self) -> str:
        """Tells one key from another, and nothing about it."""
        return self.digest(("", "check"))


def hashing(connection: Connection, privacy_key: bytes) -> Hashing:
    """By the key of this installation. Fixes it, with the first suppression still to come.

    Raises errors.UsageError where suppressions were written under another key.
    """
    half = connection.execute(_HALF).one()
    made = _hashing(DatabaseHalf(half.salt, None), privacy_key)
    connection.execute(_FIX_KEY, {"check": made.check})
    if (needed := half_if_needed(connection)) is not None:
        _hashing(needed, privacy_key)
    return made


def require_key(connection: Connection, privacy_key: bytes) -> None:
    """Raise errors.UsageError where people are suppressed and this key wouldn't know them again."""
    if (half := half_if_needed(connection)) is not None:
        _hashing(half, privacy_key)


# --- asking -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Silence:
    """Which of some identifiers are suppressed."""

    identifiers: frozenset[Identifier] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.identifiers)

    def heard(
        self, found: tuple[Identifier, ...], previous_id: str | None = None
    ) -> tuple[tuple[Identifier, ...], str | None] | None:
        """What remains of a call's identifiers and previousId; None where the call is a suppressed person's.

        Theirs is what names them by a user id or an email, and what names nobody else by one. Of somebody else's call
        on a device that they share only the device's identifiers are left out.
        """
        named = found if previous_id is None else (*found, (USER_ID, previous_id))
        if any(each in self.identifiers for each in named if each[0] in KNOWING):
            return None
        kept = tuple(each for each in found if each not in self.identifiers)
        previous = None if (ANONYMOUS_ID, previous_id or "") in self.identifiers else previous_id
        if len(kept) == len(found) and previous == previous_id:
            return found, previous_id
        return (kept, previous) if any(each[0] in KNOWING for each in kept) else None


NOBODY = Silence()


def half_if_needed(connection: Connection) -> DatabaseHalf | None:
    """The database's half of the key; None while nobody is suppressed."""
    rows = pipeline.rows(connection, _HALF_IF_NEEDED, {})
    return DatabaseHalf(rows[0].salt, rows[0].kept_check) if rows else None


def among(
    connection: Connection, half: DatabaseHalf | None, privacy_key: bytes, asked: Iterable[Identifier]
) -> Silence:
    """Which of these are suppressed; asks nothing where `half` is None, as nobody is.

    Raises errors.UsageError where people were suppressed under another key.
    """
    if half is None:
        return NOBODY
    wanted = set(asked)
    found = known(connection, _hashing(half, privacy_key), wanted)
    return Silence(frozenset(found)) if found else NOBODY


def known(connection: Connection, key: Hashing, asked: Collection[Identifier]) -> dict[Identifier, int]:
    """The request by which each of these that is suppressed is so."""
    by_digest = {key.digest(identifier): identifier for identifier in asked}
    if not by_digest:
        return {}
    rows = pipeline.rows(connection, _KNOWN, {"digests": arrays.literal(by_digest)})
    return {by_digest[row.digest.replace("-", "")]: row.request_id for row in rows}


def of_facts(calls: Iterable[Facts]) -> Iterator[Identifier]:
    """What has to be asked about calls before they are heard."""
    for call in calls:
        yield from call.identifiers
        if call.previous_id is not None:
            yield from ((ANONYMOUS_ID, call.previous_id), (USER_ID, call.previous_id))


def hear(silence: Silence, calls: Sequence[Facts]) -> list[Facts]:
    """The calls that are taken in, in their order."""
    heard = []
    for call in calls:
        rest = silence.heard(call.identifiers, call.previous_id)
        if rest is not None:
            found, previous = rest
            is_whole = found is call.identifiers
            heard.append(call if is_whole else call._replace(identifiers=found, previous_id=previous))
    return heard


def of_body(body: Mapping[str, Any]) -> tuple[tuple[Identifier, ...], str | None]:
    """Identifiers and previousId of a call as it waits in the inbox."""
    previous = body.get("previousId") if body.get("type") == "alias" else None
    return identifiers.of_call(body, {}), previous if isinstance(previous, str) else None


def mentioned(value: Any) -> Iterator[Identifier]:
    """Everybody whom a call names anywhere: its ids, and all that looks like an email."""
    if isinstance(value, dict):
        for name, inner in value.items():
            types = _FIELDS.get(name, ()) if isinstance(inner, str) else ()
            yield from ((type_, inner) for type_ in types)
            yield from mentioned(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from mentioned(inner)
    elif isinstance(value, str) and "@" in value:
        yield EMAIL, value.strip().lower()


_FIELDS: Mapping[str, tuple[str, ...]] = {
    "userId": (USER_ID,),
    "anonymousId": (ANONYMOUS_ID,),
    "previousId": (USER_ID, ANONYMOUS_ID),
}


# --- writing ------------------------------------------------------------------------------------------------------


def write(connection: Connection, key: Hashing, silent: Mapping[int, Collection[Identifier]]) -> None:
    """Suppress identifiers, by the request that asks for it. Under the lock RESOLVER: what is resolved next knows."""
    pairs = [(key.digest(each), request) for request, found in silent.items() for each in found]
    given = {"digests": arrays.literal(digest for digest, _ in pairs), "requests": [request for _, request in pairs]}
    connection.execute(_WRITE, given)


def mark(connection: Connection, profiles: Mapping[int, int]) -> None:
    """Nothing is sent to these profiles; the request of each."""
    if profiles:
        connection.execute(_MARK, {"profiles": list(profiles), "requests": list(profiles.values())})


def is_marked(connection: Connection, profile: int) -> bool:
    """Whether nothing is sent to this profile."""
    return bool(connection.execute(_IS_MARKED, {"profile": profile}).scalar_one())


def unmark(connection: Connection, requests: Sequence[int]) -> list[int]:
    """The profiles of these requests are spoken to again, or are no more; returns them."""
    return list(connection.execute(_UNMARK, {"requests": list(requests)}).scalars())


def lift(connection: Connection, requests: Sequence[int]) -> None:
    """What these requests suppressed is taken in again."""
    connection.execute(_LIFT, {"requests": list(requests)})


def count(connection: Connection, calls: int) -> None:
    """So many calls were dropped."""
    if calls:
        connection.execute(_COUNT, {"calls": calls})


def _hashing(half: DatabaseHalf, privacy_key: bytes) -> Hashing:
    made = Hashing(blake2b(privacy_key + b"\0" + half.salt.encode()).digest())
    if half.check is not None and half.check.replace("-", "") != made.check:
        raise errors.UsageError(
            "ENGAGE_SYNC_PRIVACY_KEY is not the one under which people were suppressed: with this one, nobody of them"
            " would be known again. Set it to what it was."
        )
    return made
