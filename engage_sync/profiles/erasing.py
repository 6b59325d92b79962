"""Everything that is known of people goes for good: profile, identities, traits, events, accounts that only they had.

Writes what profiles/ writes. By internal ids, each statement as often as one likes: what is gone stays gone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, text

# Somebody with a million events doesn't hold a transaction open until all are gone.
EVENTS_A_STEP = 20_000
Erased = dict[int, Counter[str]]
"""By profile, the number of rows that went, by table."""

_EVENTS = text(
    """
    WITH gone AS (
      DELETE FROM events
      WHERE ctid = ANY(ARRAY(SELECT ctid FROM events WHERE profile_id = ANY(CAST(:profiles AS bigint[])) LIMIT :limit))
      RETURNING profile_id
    )
    SELECT profile_id, count(*) FROM gone GROUP BY profile_id
    """
)
# Before the events' owner goes: who is left in an account answers for it from now on.
_ACCOUNTS = text(
    """
    WITH gone AS (
      DELETE FROM account_members WHERE profile_id = ANY(CAST(:profiles AS bigint[])) RETURNING profile_id, account_id
    )
    SELECT gone.profile_id, gone.account_id, left_there.profile_id AS heir
    FROM gone LEFT JOIN LATERAL (
      SELECT profile_id FROM account_members
      WHERE account_members.account_id = gone.account_id AND profile_id <> ALL(CAST(:profiles AS bigint[]))
      ORDER BY profile_id LIMIT 1
    ) AS left_there ON true
    """
)
_EMPTY_ACCOUNTS = (
    text("DELETE FROM account_traits WHERE account_id = ANY(CAST(:accounts AS bigint[]))"),
    text("DELETE FROM accounts WHERE id = ANY(CAST(:accounts AS bigint[]))"),
)
_BY_PROFILE: Mapping[str, str] = {
    "traits": "profile_id",
    "identities": "profile_id",
    "merges": "profile_id",
    "lost_profiles": "profile_id",
    "profiles": "id",
}
_ERASE = {
    table: text(
        f"WITH gone AS (DELETE FROM {table} WHERE {column} = ANY(CAST(:profiles AS bigint[])) RETURNING {column} AS id)"  # noqa: S608 - constants of this module
        " SELECT id, count(*) FROM gone GROUP BY id"
    )
    for table, column in _BY_PROFILE.items()
}
# The log has no index by people: this reads it all.
_TOUCHES = text(
    """
    WITH gone AS (DELETE FROM touches WHERE profile_id = ANY(CAST(:profiles AS bigint[])) RETURNING profile_id)
    SELECT profile_id, count(*) FROM gone GROUP BY profile_id
    """
)
_TOUCH = text("INSERT INTO touches (profile_id, reasons) SELECT unnest(CAST(:ids AS bigint[])), ARRAY['identity']")


def events(connection: Connection, profiles: Sequence[int]) -> tuple[Erased, bool]:
    """Delete some events; what went, and whether there may be more."""
    rows = connection.execute(_EVENTS, {"profiles": list(profiles), "limit": EVENTS_A_STEP}).all()
    return {profile: Counter(events=number) for profile, number in rows}, sum(row[1] for row in rows) >= EVENTS_A_STEP


def touches(connection: Connection, profiles: Sequence[int]) -> Erased:
    """Delete from the log of touches. Only before `people`, whose own touch computations under way still need."""
    rows = connection.execute(_TOUCHES, {"profiles": list(profiles)})
    return {profile: Counter(touches=number) for profile, number in rows}


def people(connection: Connection, profiles: Sequence[int]) -> Erased:
    """Delete all else, under the lock RESOLVER. Whoever shared an account with them is touched, one person each.

    So are they themselves: a computation under way may still write about them.
    """
    erased: Erased = {profile: Counter() for profile in profiles}
    heirs = _accounts(connection, profiles, erased)
    for table, statement in _ERASE.items():
        for profile, number in connection.execute(statement, {"profiles": list(profiles)}):
            erased[profile][table] += number
    connection.execute(_TOUCH, {"ids": [*profiles, *heirs]})
    return erased


def _accounts(connection: Connection, profiles: Sequence[int], erased: Erased) -> list[int]:
    """Delete memberships, and accounts without any other member; one who is left of each of the others."""
    rows = connection.execute(_ACCOUNTS, {"profiles": list(profiles)}).all()
    empty = sorted({row.account_id for row in rows if row.heir is None})
    counted: set[int] = set()
    for row in rows:
        erased[row.profile_id]["account_members"] += 1
        if row.heir is None and row.account_id not in counted:
            counted.add(row.account_id)
            erased[row.profile_id]["accounts"] += 1
    if empty:
        for statement in _EMPTY_ACCOUNTS:
            connection.execute(statement, {"accounts": empty})
    return sorted({row.heir for row in rows if row.heir is not None})
