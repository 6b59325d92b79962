"""Whose value may have changed since a definition was last computed: the dirty set.

Two ways in, and their union: somebody was touched (a new or late event, a trait, an identifier, a merge, a referenced
definition), as the log of touches tells; or an event crossed an edge of a window by time going by. Its cost follows
what changed, not what is stored.

What one person does may change what a definition of accounts says of everybody who shares an account with them: its
dirty set are all users of the accounts of those who were touched, or whose events crossed an edge.

Reads `touches`, `events`, `edges`, `account_members` and how far each definition has seen the log; writes the session's
own table `engage_pending`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from engage_sync.database import pipeline
from engage_sync.database.pipeline import Query
from engage_sync.definitions.language import tree
from engage_sync.definitions.language.walk import account_traits, event_names, references
from engage_sync.evaluation import presence
from engage_sync.evaluation.windows import Crossing

_PENDING = (
    text(
        """
        CREATE TEMPORARY TABLE IF NOT EXISTS engage_pending (
          profile_id bigint PRIMARY KEY,
          before jsonb,
          after jsonb,
          differs boolean NOT NULL DEFAULT false,
          must_tell boolean NOT NULL DEFAULT false
        )
        """
    ),
    text("TRUNCATE engage_pending"),
)
_FRESH = """
  SELECT event.profile_id, false AS is_identity
  FROM unnest(CAST(:names AS text[]), CAST(:starts AS timestamptz[]), CAST(:ends AS timestamptz[]))
    AS crossing (name, start_at, end_at)
  CROSS JOIN LATERAL (
    SELECT profile_id FROM events
    WHERE events.name = crossing.name AND events.timestamp >= crossing.start_at AND events.timestamp < crossing.end_at
  ) AS event
  UNION ALL
  SELECT profile_id, 'identity' = ANY(reasons)
  FROM touches
  WHERE xid >= pg_snapshot_xmin(CAST(:seen AS pg_snapshot))
    AND NOT pg_visible_in_snapshot(xid, CAST(:seen AS pg_snapshot))
    AND reasons && CAST(:reasons AS text[])
  UNION ALL
  SELECT profile_id, false FROM edges WHERE definition_id = :definition AND at <= :until
"""
_FRESH_OF_ACCOUNTS = """
  WITH one AS MATERIALIZED ({fresh})
  SELECT profile_id, is_identity FROM one
  UNION ALL
  SELECT peer.profile_id, false
  FROM account_members AS peer
  WHERE peer.account_id IN (
    SELECT mine.account_id FROM account_members AS mine WHERE mine.profile_id IN (SELECT profile_id FROM one)
  )
""".replace("{fresh}", _FRESH)
_STAGE = """
    INSERT INTO engage_pending (profile_id, must_tell)
    SELECT profile_id, bool_or(is_identity) FROM ({fresh}) AS fresh GROUP BY profile_id
"""
_AMONG = "SELECT DISTINCT profile_id FROM ({fresh}) AS fresh WHERE profile_id = ANY(CAST(:profiles AS bigint[]))"
# By whether the definition is one of accounts.
_STAGES = {False: text(_STAGE.replace("{fresh}", _FRESH)), True: text(_STAGE.replace("{fresh}", _FRESH_OF_ACCOUNTS))}
_AMONGS = {False: text(_AMONG.replace("{fresh}", _FRESH)), True: text(_AMONG.replace("{fresh}", _FRESH_OF_ACCOUNTS))}
# Asked many times a second.
_ANYTHING = text(
    """
    WITH seen AS MATERIALIZED (
      SELECT DISTINCT touches_seen::text AS shown FROM computations
      WHERE definition_id = ANY(CAST(:definitions AS integer[])) AND touches_seen IS NOT NULL
        -- What is held reads nothing until that is over.
        AND NOT EXISTS (SELECT FROM holds WHERE holds.definition_id = computations.definition_id)
    )
    SELECT EXISTS (
      SELECT FROM touches, seen
      WHERE touches.xid >= (SELECT min(pg_snapshot_xmin(shown::pg_snapshot)) FROM seen)
        AND NOT pg_visible_in_snapshot(touches.xid, shown::pg_snapshot)
    )
    """
)
# One statement for all definitions of a round: the lowest xmin bounds the index, each one's own snapshot decides.
# The limits keep a round from reading what is too much for it: it is then left to a run of its own.
_SETS = """
    WITH watch AS MATERIALIZED (
      SELECT definition_id, reason, touches_seen AS seen
      FROM unnest(CAST(:definitions AS integer[]), CAST(:reasons AS text[])) AS watch (definition_id, reason)
      JOIN computations USING (definition_id)
    ), recent AS MATERIALIZED (
      SELECT profile_id, reasons, xid FROM touches
      WHERE xid >= (SELECT min(pg_snapshot_xmin(seen)) FROM watch)
      LIMIT :most_touches
    ), crossing AS (
      SELECT * FROM unnest(CAST(:crossing_definitions AS integer[]), CAST(:names AS text[]),
                           CAST(:starts AS timestamptz[]), CAST(:ends AS timestamptz[]), CAST(:future AS boolean[]))
        AS crossing (definition_id, name, start_at, end_at, future_only)
    ), fresh AS (
      SELECT watch.definition_id, recent.profile_id, watch.reason = 'identity' AS is_identity
      FROM recent CROSS JOIN unnest(recent.reasons) AS unnested (reason)
      JOIN watch ON watch.reason = unnested.reason
      WHERE NOT pg_visible_in_snapshot(recent.xid, watch.seen)
      UNION ALL
      SELECT crossing.definition_id, event.profile_id, false
      FROM crossing CROSS JOIN LATERAL (
        -- What was visible when it came, its touch has told; only what lay in the future then turns visible by time.
        (SELECT profile_id FROM events
         WHERE crossing.future_only AND events.timestamp > events.received_at AND events.name = crossing.name
           AND events.timestamp >= crossing.start_at AND events.timestamp < crossing.end_at
         LIMIT :most)
        UNION ALL
        (SELECT profile_id FROM events
         WHERE NOT crossing.future_only AND events.name = crossing.name
           AND events.timestamp >= crossing.start_at AND events.timestamp < crossing.end_at
         LIMIT :most)
      ) AS event
      UNION ALL
      SELECT dated.definition_id, edge.profile_id, false
      FROM unnest(CAST(:dated AS integer[])) AS dated (definition_id) CROSS JOIN LATERAL (
        SELECT profile_id FROM edges WHERE edges.definition_id = dated.definition_id AND edges.at <= :until LIMIT :most
      ) AS edge
    ), {person}, found AS (
      SELECT definition_id, array_agg(profile_id ORDER BY profile_id) AS profiles,
             array_agg(profile_id ORDER BY profile_id) FILTER (WHERE is_identity) AS identities{read}
      FROM person GROUP BY definition_id
    )
    SELECT found.definition_id, found.profiles, found.identities, (SELECT count(*) FROM recent) AS touches{shown}
    FROM (VALUES (1)) AS once LEFT JOIN found ON true
"""
_PERSON = """person AS (
      SELECT definition_id, profile_id, bool_or(is_identity) AS is_identity
      FROM fresh GROUP BY definition_id, profile_id
    )"""
# An account may have any number of users: no more are read than a round could take.
_USERS = """touched AS MATERIALIZED (
      SELECT definition_id, profile_id, bool_or(is_identity) AS is_identity
      FROM fresh GROUP BY definition_id, profile_id
    ), account AS MATERIALIZED (
      SELECT DISTINCT touched.definition_id, mine.account_id
      FROM unnest(CAST(:of_accounts AS integer[])) AS asking (definition_id)
      JOIN touched USING (definition_id)
      JOIN account_members AS mine ON mine.profile_id = touched.profile_id
    ), user_ AS (
      SELECT definition_id, profile_id, is_identity FROM touched
      UNION ALL
      SELECT asking.definition_id, peer.profile_id, false
      FROM unnest(CAST(:of_accounts AS integer[])) AS asking (definition_id)
      CROSS JOIN LATERAL (
        SELECT theirs.profile_id
        FROM account JOIN account_members AS theirs ON theirs.account_id = account.account_id
        WHERE account.definition_id = asking.definition_id
        LIMIT :most_users
      ) AS peer
    ), person AS (
      SELECT definition_id, profile_id, bool_or(is_identity) AS is_identity, count(*) AS times
      FROM user_ GROUP BY definition_id, profile_id
    )"""
_SETS_OF_PEOPLE = text(_SETS.replace("{person}", _PERSON).replace("{read}", "").replace("{shown}", ""))
_SETS_WITH_ACCOUNTS = text(
    _SETS.replace("{person}", _USERS).replace("{read}", ", sum(times) AS read").replace("{shown}", ", found.read")
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Watch:
    """What one definition looks at in the log; how far it has seen it, stands in `computations`."""

    definition_id: int
    reasons: frozenset[str]
    of_accounts: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Sweep:
    """A range of events of one definition; `future_only` where touches have told all but those of the future."""

    definition_id: int
    crossing: Crossing
    future_only: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class DirtySet:
    """Profiles to be looked at, in the order of their ids, and those of them whose identities changed.

    `is_whole` False: there are more, and more than a round should take.
    """

    profiles: Sequence[int]
    identities: Sequence[int]
    is_whole: bool = True


def reasons(definition: tree.Definition, catalog: Mapping[str, int]) -> frozenset[str]:
    """The reasons of touches that concern a definition.

    `identity` concerns all; `created` only what may hold of somebody without any fact, such as `count() = 0`. Who is
    new belongs to no account but by `account`.
    """
    if isinstance(definition, tree.SqlRows):
        return frozenset({"identity"})
    found = {"identity", *(f"event:{name}" for name in event_names(definition))}
    found |= {f"{'definition' if name in catalog else 'trait'}:{name}" for name in references(definition)}
    if isinstance(definition, tree.OfAccounts):
        return frozenset({*found, "account", *(f"account_trait:{name}" for name in account_traits(definition))})
    if not isinstance(definition, tree.Aggregate | tree.TraitRef) and presence.true_of_nothing(definition):
        found.add("created")
    return frozenset(found)


def prepare(connection: Connection) -> None:
    """Make the session's empty table `engage_pending`."""
    for statement in _PENDING:
        connection.execute(statement)


@dataclass(frozen=True, kw_only=True, slots=True)
class Since:
    """What may have changed one definition's value: touches since `seen`, crossed edges, and dates up to `until`.

    `of_accounts`: that of everybody who shares an account with those, too.
    """

    definition: int
    seen: str
    reasons: Collection[str]
    crossings: Sequence[Crossing]
    until: datetime | None
    of_accounts: bool = False

    def arguments(self) -> dict[str, object]:
        return {
            "definition": self.definition,
            "seen": self.seen,
            "reasons": sorted(self.reasons),
            "names": [crossing.event for crossing in self.crossings],
            "starts": [crossing.start for crossing in self.crossings],
            "ends": [crossing.end for crossing in self.crossings],
            "until": self.until,
        }


def stage(connection: Connection, since: Since) -> int:
    """Fill `engage_pending` with the dirty set; `must_tell` where identities changed. Returns how many profiles."""
    return connection.execute(_STAGES[since.of_accounts], since.arguments()).rowcount


def among(connection: Connection, since: Since, profiles: Sequence[int]) -> set[int]:
    """Which of the given profiles are dirty."""
    return set(
        connection.execute(_AMONGS[since.of_accounts], {**since.arguments(), "profiles": list(profiles)}).scalars()
    )


def asking_for_news(definitions: Collection[int]) -> Query[bool]:
    """Asks whether the log holds a touch that one of these definitions hasn't seen."""
    return Query(_ANYTHING, {"definitions": list(definitions)}, lambda rows: bool(rows[0][0]))


def sets(
    connection: Connection,
    watches: Sequence[Watch],
    sweeps: Sequence[Sweep],
    most: int,
    *,
    dated: Collection[int],
    until: datetime,
) -> dict[int, DirtySet] | None:
    """The dirty sets of many definitions, by their ids; those with nobody in it are left out.

    `dated` are those of them whose dates are looked at, up to an instant.

    None where so much was touched that no round should read it. A set with more than `most` profiles may not be whole,
    nor one that says so itself.
    """
    pairs = [(watch.definition_id, reason) for watch in watches for reason in sorted(watch.reasons)]
    # A crowd's touches come several a person.
    most_touches = 10 * most
    given = {
        "definitions": [definition for definition, _ in pairs],
        "reasons": [reason for _, reason in pairs],
        "most_touches": most_touches,
        "crossing_definitions": [sweep.definition_id for sweep in sweeps],
        "names": [sweep.crossing.event for sweep in sweeps],
        "starts": [sweep.crossing.start for sweep in sweeps],
        "ends": [sweep.crossing.end for sweep in sweeps],
        "future": [sweep.future_only for sweep in sweeps],
        "most": most + 1,
        "dated": sorted(dated),
        "until": until,
    }
    of_accounts = [watch.definition_id for watch in watches if watch.of_accounts]
    statement = _SETS_OF_PEOPLE
    if of_accounts:
        # Somebody who is in several of the accounts is read as often.
        given |= {"of_accounts": of_accounts, "most_users": 10 * most}
        statement = _SETS_WITH_ACCOUNTS
    rows = pipeline.ask(connection, Query(statement, given, lambda rows: rows))
    if rows[0][3] >= most_touches:
        return None
    return {
        definition: DirtySet(profiles=found, identities=identities or (), is_whole=not read or read[0] < 10 * most)
        for definition, found, identities, _, *read in rows
        if definition is not None
    }
