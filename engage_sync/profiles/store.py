"""What the resolver reads and writes, a batch at a time. Every statement goes by an index, however large the table."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, text

from engage_sync.database import arrays, binary, pipeline
from engage_sync.ingest import accept
from engage_sync.profiles.facts import Facts, canonical
from engage_sync.profiles.graph import COUNTED_EVENTS, Node
from engage_sync.profiles.identifiers import Identifier
from engage_sync.profiles.suppression import DatabaseHalf
from engage_sync.profiles.traits import Needed, Row, Trait

# A batch is small beside its tables, but their statistics lag behind an import: without this the planner now and then
# reads a whole table per batch.
_BY_INDEX = text(
    """
    SELECT set_config('enable_seqscan', 'off', true) AS scan, set_config('enable_hashjoin', 'off', true) AS join_,
           CASE WHEN EXISTS (SELECT FROM suppressions) THEN privacy_salt::text END AS salt,
           privacy_check::text AS kept_check
    FROM installation
    """
)

_RECEIVED = text(
    "SELECT digest::text FROM received_messages"
    " WHERE source_id = :source_id AND digest = ANY(CAST(CAST(:digests AS text) AS uuid[]))"
)
_HOLDERS = "SELECT value, profile_id FROM identities WHERE type = %s AND value = ANY(CAST(CAST(%s AS text) AS text[]))"
_PROFILES = text(
    "SELECT id, extract(epoch FROM created_at)::float8 AS created, public_id, is_known"
    " FROM profiles WHERE id = ANY(:ids)"
)
_COUNTS = text("SELECT profile_id, type, count(*) FROM identities WHERE profile_id = ANY(:ids) GROUP BY 1, 2")
_EMAILS = text(
    """
    SELECT identities.profile_id, identities.value,
           (extract(epoch FROM traits.timestamp) * 1000000)::bigint - 946684800000000 AS said_at
    FROM identities LEFT JOIN traits ON traits.profile_id = identities.profile_id AND traits.name = 'email'
    WHERE identities.profile_id = ANY(:ids) AND identities.type = 'email' ORDER BY identities.id
    """
)
_EVENTS = text(
    """
    SELECT asked.id, counted.events
    FROM unnest(CAST(:ids AS bigint[])) AS asked (id),
    LATERAL (SELECT count(*) AS events
             FROM (SELECT FROM events WHERE profile_id = asked.id LIMIT :bound) AS some_events) AS counted
    """
)
_TRAITS_WHOLE = text(
    """
    SELECT profile_id, name, (extract(epoch FROM timestamp) * 1000000)::bigint - 946684800000000, value::text
    FROM traits WHERE profile_id = ANY(:ids)
    """
)
_TRAITS_SINGLE = text(
    """
    SELECT profile_id, name, (extract(epoch FROM timestamp) * 1000000)::bigint - 946684800000000, value::text
    FROM unnest(CAST(:ids AS bigint[]), CAST(:names AS text[])) AS asked (profile_id, name)
    JOIN traits USING (profile_id, name)
    """
)
_NEW_IDS = text("SELECT nextval(pg_get_serial_sequence('profiles', 'id')) FROM generate_series(1, :number)")


def prepare(connection: Connection) -> DatabaseHalf | None:
    """Settings for the rest of the transaction. Returns what suppressed people are asked for with, if there are any."""
    found = pipeline.rows(connection, _BY_INDEX, {})[0]
    return DatabaseHalf(found.salt, found.kept_check) if found.salt is not None else None


def seen(connection: Connection, source_id: int, digests: Sequence[bytes]) -> set[bytes]:
    """Those of the message ids that the source sent before."""
    # One literal instead of thousands of parameters: a digest's hex digits are a uuid as Postgres reads it.
    literal = "{" + ",".join(digest.hex() for digest in digests) + "}"
    found = pipeline.rows(connection, _RECEIVED, {"source_id": source_id, "digests": literal})
    return {bytes.fromhex(row.digest.replace("-", "")) for row in found}


def holders(connection: Connection, wanted: Iterable[Identifier]) -> dict[Identifier, int]:
    """The profile of each identifier that has one."""
    by_type: dict[str, list[str]] = {}
    for type_, value in wanted:
        by_type.setdefault(type_, []).append(value)
    # Past SQLAlchemy, as COPY is: its rows would cost more than finding them.
    driver: Any = connection.connection.cursor(binary=True)
    found: dict[Identifier, int] = {}
    for type_, values in by_type.items():
        for value, profile_id in driver.execute(_HOLDERS, (type_, arrays.literal(values))).fetchall():
            found[type_, value] = profile_id
    return found


def load(connection: Connection, nodes: Mapping[int, Node], *, emails: bool) -> None:
    """Fill in what is stored of the nodes, by their ids; on demand also the email of each, the newest of several."""
    if not nodes:
        return
    ids = list(nodes)
    for id_, created, public_id, is_known in connection.execute(_PROFILES, {"ids": ids}):
        node = nodes[id_]
        node.age, node.public_id, node.is_known = (created, id_), public_id, is_known
    for id_, type_, count in connection.execute(_COUNTS, {"ids": ids}):
        nodes[id_].counts[type_] = count
    if emails:
        for id_, email, said_at in connection.execute(_EMAILS, {"ids": ids}):
            nodes[id_].email = email
            if said_at is not None:
                nodes[id_].email_at = said_at


def count_events(connection: Connection, ids: Iterable[int]) -> dict[int, int]:
    found = connection.execute(_EVENTS, {"ids": list(ids), "bound": COUNTED_EVENTS})
    return {row.id: row.events for row in found}


def traits(connection: Connection, needed: Needed) -> dict[int, dict[str, Trait]]:
    """What is stored of the traits that a replay needs, by profile and name."""
    found: list[Any] = []
    if needed.whole:
        found += connection.execute(_TRAITS_WHOLE, {"ids": list(needed.whole)})
    if needed.single:
        single = list(needed.single)
        found += connection.execute(
            _TRAITS_SINGLE, {"ids": [id_ for id_, _ in single], "names": [name for _, name in single]}
        )
    stored: dict[int, dict[str, Trait]] = {}
    for profile_id, name, timestamp, value in found:
        stored.setdefault(profile_id, {})[name] = Trait(timestamp, canonical(accept.parse(value.encode())))
    return stored


def new_ids(connection: Connection, number: int) -> list[int]:
    """Ids for profiles that are about to be written."""
    return [row[0] for row in pipeline.rows(connection, _NEW_IDS, {"number": number})] if number else []


# --- writing ------------------------------------------------------------------------------------------------------

_COPY_RECEIVED = "COPY received_messages (digest, source_id) FROM STDIN (FORMAT binary)"
_COPY_PROFILES = "COPY profiles (id, is_known) FROM STDIN (FORMAT binary)"
_COPY_IDENTITIES = "COPY identities (profile_id, type, value, source_id) FROM STDIN (FORMAT binary)"
_COPY_TRAITS = "COPY traits (profile_id, name, value, timestamp) FROM STDIN (FORMAT binary)"
_COPY_TOUCHES = "COPY touches (profile_id, reasons) FROM STDIN (FORMAT binary)"
_COPY_EVENTS = (
    "COPY events (profile_id, name, timestamp, received_at, source_id, type, message_id, properties, context)"
    " FROM STDIN (FORMAT binary)"
)

_UPDATE_TRAITS = text(
    """
    UPDATE traits
    SET value = written.value, timestamp = timestamptz '2000-01-01 00:00Z' + written.micros * interval '1 microsecond'
    FROM unnest(CAST(:ids AS bigint[]), CAST(:names AS text[]), CAST(:values AS jsonb[]), CAST(:micros AS bigint[]))
         AS written (profile_id, name, value, micros)
    WHERE traits.profile_id = written.profile_id AND traits.name = written.name
    """
)
_INSERT_SUCCESSORS = text(
    """
    INSERT INTO profiles (id, public_id, created_at, is_known) OVERRIDING SYSTEM VALUE
    SELECT id, public_id, to_timestamp(created), is_known
    FROM unnest(CAST(:ids AS bigint[]), CAST(:public_ids AS text[]), CAST(:created AS float8[]),
                CAST(:known AS boolean[])) AS made (id, public_id, created, is_known)
    """
)
_UPDATE_PROFILES = text(
    """
    UPDATE profiles
    SET public_id = written.public_id, created_at = least(created_at, to_timestamp(written.created)),
        is_known = written.is_known
    FROM unnest(CAST(:ids AS bigint[]), CAST(:public_ids AS text[]), CAST(:created AS float8[]),
                CAST(:known AS boolean[])) AS written (id, public_id, created, is_known)
    WHERE profiles.id = written.id
      AND (profiles.public_id, profiles.is_known) IS DISTINCT FROM (written.public_id, written.is_known)
    """
)
_MOVES = tuple(
    text(statement)
    for statement in (
        """
        UPDATE identities SET profile_id = pair.kept
        FROM unnest(CAST(:lost AS bigint[]), CAST(:kept AS bigint[])) AS pair (lost, kept)
        WHERE profile_id = pair.lost
        """,
        """
        UPDATE events SET profile_id = pair.kept
        FROM unnest(CAST(:lost AS bigint[]), CAST(:kept AS bigint[])) AS pair (lost, kept)
        WHERE profile_id = pair.lost
        """,
        # What they said is among the traits of the profiles that took them in.
        "DELETE FROM traits WHERE profile_id = ANY(:lost)",
        """
        UPDATE merges SET profile_id = pair.kept
        FROM unnest(CAST(:lost AS bigint[]), CAST(:kept AS bigint[])) AS pair (lost, kept)
        WHERE profile_id = pair.lost
        """,
        "DELETE FROM profiles WHERE id = ANY(:lost)",
    )
)
_INSERT_MERGES = text(
    """
    INSERT INTO merges (public_id, profile_id)
    SELECT * FROM unnest(CAST(:public_ids AS text[]), CAST(:ids AS bigint[]))
    """
)

_FORGET = text(
    """
    DELETE FROM identities USING unnest(CAST(:types AS text[]), CAST(:values AS text[])) AS forgotten (type, value)
    WHERE identities.value = forgotten.value AND identities.type = forgotten.type
    """
)
_TOUCH = text("INSERT INTO touches (profile_id, reasons) SELECT unnest(CAST(:ids AS bigint[])), ARRAY['identity']")

_RECEIVED_ROW = struct.Struct(">hi16sih")
_PROFILE_ROW = struct.Struct(">hiqi?")
_PROFILE_FIELD = struct.Struct(">hiq")
_LENGTH = struct.Struct(">i")
_SMALLINT = struct.Struct(">ih")
_INSTANT = struct.Struct(">iq")
# Dimensions, no nulls, the type of the elements (text), their number, and the index of the first.
_ARRAY = struct.Struct(">iiiii")
_TEXT_OID = 25


def write_received(connection: Connection, facts: Sequence[Facts]) -> None:
    # In the order of the key: neighbours land on one page of the index.
    rows = sorted((call.digest, call.source_id) for call in facts)
    binary.copy(connection, _COPY_RECEIVED, (_RECEIVED_ROW.pack(2, 16, digest, 2, source) for digest, source in rows))


def move(connection: Connection, pairs: Sequence[tuple[int, int]]) -> None:
    """Give all that lost profiles have to those that took them in, as (lost, kept), and delete them."""
    if pairs:
        parameters = {"lost": [lost for lost, _ in pairs], "kept": [kept for _, kept in pairs]}
        for statement in _MOVES:
            connection.execute(statement, parameters)


def write_profiles(connection: Connection, created: Sequence[Node], changed: Sequence[Node]) -> None:
    """New profiles (those that succeed an older one carry its public id), and stored ones that changed."""
    fresh = [node for node in created if node.public_id is None]
    if fresh:
        rows = (_PROFILE_ROW.pack(2, 8, node.id, 1, node.is_known) for node in fresh)
        binary.copy(connection, _COPY_PROFILES, rows)
    successors = [node for node in created if node.public_id is not None]
    for statement, nodes in ((_INSERT_SUCCESSORS, successors), (_UPDATE_PROFILES, changed)):
        if nodes:
            parameters = {
                "ids": [node.id for node in nodes],
                "public_ids": [node.public_id for node in nodes],
                "created": [node.age[0] for node in nodes],
                "known": [node.is_known for node in nodes],
            }
            connection.execute(statement, parameters)
    lost = [(public_id, node.id) for node in (*created, *changed) for public_id in node.lost_public_ids]
    if lost:
        connection.execute(
            _INSERT_MERGES, {"public_ids": [public_id for public_id, _ in lost], "ids": [id_ for _, id_ in lost]}
        )


def forget_identities(connection: Connection, forgotten: Sequence[Identifier]) -> None:
    """Nobody holds these any more. Before `write_identities`, as somebody else may learn one of them in the batch."""
    if forgotten:
        connection.execute(
            _FORGET, {"types": [each[0] for each in forgotten], "values": [each[1] for each in forgotten]}
        )


def touch(connection: Connection, profiles: Sequence[int]) -> None:
    """Every definition looks at these again."""
    connection.execute(_TOUCH, {"ids": list(profiles)})


def write_identities(connection: Connection, learnt: Sequence[tuple[Identifier, Node, int]]) -> None:
    if not learnt:
        return
    rows = (
        _PROFILE_FIELD.pack(4, 8, node.root().id)
        + _text(identifier[0])
        + _text(identifier[1])
        + _SMALLINT.pack(2, source_id)
        for identifier, node, source_id in learnt
    )
    binary.copy(connection, _COPY_IDENTITIES, rows)


def write_traits(connection: Connection, rows: Sequence[Row]) -> None:
    new = [row for row in rows if row.is_new]
    if new:
        binary.copy(
            connection,
            _COPY_TRAITS,
            (
                _PROFILE_FIELD.pack(4, 8, row.node.id)
                + _text(row.name)
                + _LENGTH.pack(len(row.trait.value) + 1)
                + b"\x01"
                + row.trait.value
                + _INSTANT.pack(8, row.trait.timestamp)
                for row in new
            ),
        )
    changed = [row for row in rows if not row.is_new]
    if changed:
        parameters = {
            "ids": [row.node.id for row in changed],
            "names": [row.name for row in changed],
            "values": [row.trait.value.decode() for row in changed],
            "micros": [row.trait.timestamp for row in changed],
        }
        connection.execute(_UPDATE_TRAITS, parameters)


def write_events(connection: Connection, events: Iterable[tuple[Node, bytes]]) -> None:
    binary.copy(connection, _COPY_EVENTS, (_PROFILE_FIELD.pack(9, 8, node.root().id) + row for node, row in events))


def write_touches(connection: Connection, nodes: Sequence[Node], lost: Sequence[int]) -> None:
    """Why each node was touched. Lost profiles are touched, too: a computation under way may still write about them."""
    if nodes:
        rows = [_PROFILE_FIELD.pack(2, 8, node.id) + _texts(sorted(node.reasons)) for node in nodes]
        rows += (_PROFILE_FIELD.pack(2, 8, id_) + _texts(["identity"]) for id_ in lost)
        binary.copy(connection, _COPY_TOUCHES, rows)


def _text(value: str) -> bytes:
    encoded = value.encode()
    return _LENGTH.pack(len(encoded)) + encoded


def _texts(values: Sequence[str]) -> bytes:
    array = _ARRAY.pack(1, 0, _TEXT_OID, len(values), 1) + b"".join(map(_text, values))
    return _LENGTH.pack(len(array)) + array
