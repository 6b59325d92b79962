"""What group calls say: which account a person belongs to, and what is known of the account.

Reads and writes `accounts`, `account_traits` and `account_members`, a batch at a time. A trait's newest timestamp wins,
and of equal ones the later arrival. Who is told of a change is found from the touches of those who called, as they are
users of the account themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, text

from engage_sync.database import arrays
from engage_sync.ingest import accept
from engage_sync.profiles.facts import Facts, canonical
from engage_sync.profiles.graph import Node
from engage_sync.profiles.traits import Trait, is_same

_SINCE_2000 = "timestamptz '2000-01-01 00:00Z'"
# In the order of the calls, so that of several accounts the one that was named first has the lowest id.
_MADE = text(
    """
    WITH asked AS (
      SELECT group_id, place FROM unnest(CAST(:group_ids AS text[])) WITH ORDINALITY AS asked (group_id, place)
    ), made AS (
      INSERT INTO accounts (group_id)
      SELECT group_id FROM asked WHERE NOT EXISTS (SELECT FROM accounts WHERE accounts.group_id = asked.group_id)
      ORDER BY place
      RETURNING id, group_id
    )
    SELECT id, group_id FROM made
    UNION ALL
    SELECT accounts.id, accounts.group_id FROM accounts JOIN asked USING (group_id)
    """
)
_TRAITS = text(
    """
    SELECT account_id, name, (extract(epoch FROM timestamp) * 1000000)::bigint - 946684800000000 AS micros,
           value::text AS value
    FROM unnest(CAST(:accounts AS bigint[]), CAST(:names AS text[])) AS asked (account_id, name)
    JOIN account_traits USING (account_id, name)
    """
)
_WRITE_TRAITS = text(
    """
    INSERT INTO account_traits (account_id, name, value, timestamp)
    SELECT account_id, name, value, {since} + micros * interval '1 microsecond'
    FROM unnest(CAST(:accounts AS bigint[]), CAST(:names AS text[]), CAST(:values AS jsonb[]),
                CAST(:micros AS bigint[])) AS written (account_id, name, value, micros)
    ON CONFLICT (account_id, name) DO UPDATE SET value = excluded.value, timestamp = excluded.timestamp
    """.replace("{since}", _SINCE_2000)
)
# A group call on each page says nothing new: a person is touched only by another account, or where the order of their
# accounts may have changed (a trait is that of the account named last).
_JOIN = text(
    """
    WITH joined AS MATERIALIZED (
      SELECT profile_id, account_id, {since} + micros * interval '1 microsecond' AS timestamp
      FROM unnest(CAST(:profiles AS bigint[]), CAST(:accounts AS bigint[]), CAST(:micros AS bigint[]))
        AS joined (profile_id, account_id, micros)
    ), changed AS MATERIALIZED (
      SELECT joined.*, known.timestamp AS before
      FROM joined LEFT JOIN account_members AS known USING (profile_id, account_id)
      WHERE known.timestamp IS NULL OR known.timestamp < joined.timestamp
    ), written AS (
      INSERT INTO account_members (profile_id, account_id, timestamp)
      SELECT profile_id, account_id, timestamp FROM changed ORDER BY profile_id, account_id
      ON CONFLICT (profile_id, account_id) DO UPDATE SET timestamp = excluded.timestamp
    )
    SELECT DISTINCT profile_id FROM changed
    WHERE before IS NULL OR EXISTS (
      SELECT FROM account_members AS other
      WHERE other.profile_id = changed.profile_id AND other.account_id <> changed.account_id
        AND other.timestamp BETWEEN changed.before AND changed.timestamp
    )
    """.replace("{since}", _SINCE_2000)
)
_MOVE = (
    text(
        """
        INSERT INTO account_members (profile_id, account_id, timestamp)
        SELECT pair.kept, account_id, max(timestamp)
        FROM account_members
        JOIN unnest(CAST(:lost AS bigint[]), CAST(:kept AS bigint[])) AS pair (lost, kept) ON profile_id = pair.lost
        GROUP BY 1, 2
        ON CONFLICT (profile_id, account_id)
          DO UPDATE SET timestamp = greatest(account_members.timestamp, excluded.timestamp)
        """
    ),
    text("DELETE FROM account_members WHERE profile_id = ANY(:lost)"),
)


class Grouped(NamedTuple):
    """A group call, and the profile that it is about."""

    node: Node
    call: Facts


def move(connection: Connection, pairs: Sequence[tuple[int, int]]) -> None:
    """Profiles that took others in belong to their accounts, too. Pairs are (lost, kept)."""
    if pairs:
        given = {"lost": [lost for lost, _ in pairs], "kept": [kept for _, kept in pairs]}
        for statement in _MOVE:
            connection.execute(statement, given)


def write(connection: Connection, grouped: Sequence[Grouped]) -> None:
    """Write what group calls say, given in the order of their arrival, of profiles that are written.

    Adds to each profile's reasons `account` where it now belongs to another account, or to its accounts in another
    order, and `account_trait:<name>` where an account's trait really changed.
    """
    if not grouped:
        return
    group_ids = list(dict.fromkeys(each.call.group_id for each in grouped))
    rows = connection.execute(_MADE, {"group_ids": arrays.literal([each or "" for each in group_ids])})
    accounts: dict[str | None, int] = {row.group_id: row.id for row in rows}
    _write_traits(connection, grouped, accounts)
    _join(connection, grouped, accounts)


def _join(connection: Connection, grouped: Iterable[Grouped], accounts: Mapping[str | None, int]) -> None:
    newest: dict[tuple[int, int], int] = {}
    nodes: dict[int, Node] = {}
    for node, call in grouped:
        profile = node.root()
        assert profile.id is not None
        nodes[profile.id] = profile
        place = profile.id, accounts[call.group_id]
        newest[place] = max(call.timestamp, newest.get(place, call.timestamp))
    given = {
        "profiles": [profile for profile, _ in newest],
        "accounts": [account for _, account in newest],
        "micros": list(newest.values()),
    }
    for profile_id in connection.execute(_JOIN, given).scalars():
        nodes[profile_id].reasons.add("account")


def _write_traits(connection: Connection, grouped: Iterable[Grouped], accounts: Mapping[str | None, int]) -> None:
    said = [
        (node, accounts[call.group_id], name, Trait(call.timestamp, value))
        for node, call in grouped
        for name, value in (call.group_traits or {}).items()
    ]
    if not said:
        return
    stored = _stored(connection, {(account, name) for _, account, name, _ in said})
    current = dict(stored)
    callers: dict[tuple[int, str], set[Node]] = {}
    for node, account, name, trait in said:
        place = account, name
        if place not in current or trait.timestamp >= current[place].timestamp:
            current[place] = trait
            callers.setdefault(place, set()).add(node.root())
    changed = {place: current[place] for place in callers if current[place] != stored.get(place)}
    for (account, name), trait in changed.items():
        before = stored.get((account, name))
        if before is None or not is_same(before.value, trait.value):
            for node in callers[account, name]:
                node.reasons.add("account_trait:" + name)
    if not changed:
        return
    given = {
        "accounts": [account for account, _ in changed],
        "names": arrays.literal([name for _, name in changed]),
        "values": [trait.value.decode() for trait in changed.values()],
        "micros": [trait.timestamp for trait in changed.values()],
    }
    connection.execute(_WRITE_TRAITS, given)


def _stored(connection: Connection, wanted: set[tuple[int, str]]) -> dict[tuple[int, str], Trait]:
    asked = sorted(wanted)
    given = {"accounts": [account for account, _ in asked], "names": arrays.literal([name for _, name in asked])}
    rows: Any = connection.execute(_TRAITS, given)
    return {(row.account_id, row.name): Trait(row.micros, canonical(accept.parse(row.value.encode()))) for row in rows}
