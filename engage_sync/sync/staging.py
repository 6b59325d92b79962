"""The people of a run of its own, in the session's table `engage_pending`: everybody who differs, or a dirty set.

In the run's first transaction, under the definition's lock. Writes nothing that outlives the session.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from engage_sync.database import pipeline
from engage_sync.definitions.language import tree
from engage_sync.definitions.versions import StoredDefinition
from engage_sync.evaluation import dirty, rows, windows
from engage_sync.evaluation.compiler import Evaluation, Scope
from engage_sync.evaluation.warehouse import Warehouse
from engage_sync.snapshots import differences, matches
from engage_sync.snapshots.differences import Asked, Tally
from engage_sync.snapshots.states import State
from engage_sync.sync.catalog import Catalog, Context

# People in one transaction: large enough that its commit doesn't count, small enough that none stays open for seconds.
BATCH = 5_000
# Above this share of all profiles, looking everybody up at once is cheaper than one by one.
_ALL_ABOVE = 0.2
_PEOPLE = text("SELECT count(*) FROM profiles WHERE is_known OR :anonymous")
# Roughly how many profiles there are, without counting them; -1 before the first ANALYZE.
_ROUGHLY = text("SELECT reltuples::bigint FROM pg_class WHERE oid = to_regclass('profiles')")
_NEXT = text(
    """
    SELECT profile_id, before::text AS before, after::text AS after, differs, must_tell FROM engage_pending
    WHERE profile_id > :last ORDER BY profile_id LIMIT :limit
    """
)
# A new version may tell through other channels: everyone with a value is compared with what was told.
_EVERYONE = text(
    """
    INSERT INTO engage_pending (profile_id, must_tell)
    SELECT profile_id, true FROM snapshots WHERE definition_id = :definition
    ON CONFLICT (profile_id) DO UPDATE SET must_tell = true
    """
)
# Of whom a destination already held something: where that isn't true, they must be told, though nothing else differs.
_ADOPTED = text(
    """
    INSERT INTO engage_pending (profile_id, must_tell)
    SELECT DISTINCT profile_id, true FROM told WHERE definition_id = :definition AND is_adopted
    ON CONFLICT (profile_id) DO UPDATE SET must_tell = true
    """
)
_FOUND = text(
    """
    UPDATE engage_pending SET before = found.before, after = found.after, differs = true
    FROM unnest(CAST(:profiles AS bigint[]), CAST(:before AS jsonb[]), CAST(:after AS jsonb[]))
      AS found (profile_id, before, after)
    WHERE engage_pending.profile_id = found.profile_id
    """
)
_COUNTS = text(
    """
    SELECT count(*) FILTER (WHERE was_out AND NOT is_out) AS entered,
           count(*) FILTER (WHERE is_out AND NOT was_out) AS exited,
           count(*) FILTER (WHERE was_out = is_out) AS changed
    FROM (
      SELECT coalesce(before = CAST(:nothing AS jsonb), before IS NULL) AS was_out,
             coalesce(after = CAST(:nothing AS jsonb), after IS NULL) AS is_out
      FROM engage_pending WHERE differs
    ) AS difference
    """
)
# As each person is told: by each email, by the user id for want of one.
_IDENTITIES = text(
    """
    SELECT count(*) FROM engage_pending JOIN identities USING (profile_id)
    WHERE differs AND (identities.type = 'email' OR (identities.type = 'user_id' AND NOT EXISTS (
      SELECT FROM identities AS email WHERE email.profile_id = engage_pending.profile_id AND email.type = 'email'
    )))
    """
)


@dataclass(kw_only=True, slots=True)
class Staging:
    """The people of one definition's run, as of the instant of its first transaction.

    `has_values`: what everybody's value was and is stands there, too; else it is evaluated batch by batch.
    """

    context: Context
    catalog: Catalog
    definition: StoredDefinition
    as_of: datetime
    has_values: bool = False

    def stage(self, connection: Connection, state: State, *, everybody: bool) -> int:
        """Stage whoever is to be looked at; says how many. Of a dirty set that is too large, everybody."""
        dirty.prepare(connection)
        if not everybody and not self._turns_for_all(state):
            count = self._stage_dirty(connection, state)
            if count is not None:
                return count
        elif state.touches_seen is not None:
            # Everybody is looked at, but who gained or lost an identity must be told though nothing else differs.
            dirty.stage(connection, self.since(state.touches_seen, None, None, reasons=["identity"]))
        return self._stage_all(connection, state)

    def foresee(self, connection: Connection) -> Tally:
        """What the run would do, before any of it is written: from now on the values are staged, too."""
        if not self.has_values:
            self._evaluate(connection)
        nothing = "false" if self.definition.kind == "audience" else None
        row = connection.execute(_COUNTS, {"nothing": nothing}).one()
        return Tally(entered=row.entered, exited=row.exited, changed=row.changed)

    def identities(self, connection: Connection) -> int:
        """How many identities those have who differ, once that is foreseen."""
        return int(connection.execute(_IDENTITIES).scalar_one())

    def next(self, connection: Connection, last: int, limit: int) -> Sequence[Any]:
        """Up to `limit` people after the profile `last`: (profile_id, before, after, differs, must_tell)."""
        return connection.execute(_NEXT, {"last": last, "limit": limit}).all()

    def people(self, connection: Connection) -> int:
        """How many profiles the definition may be asked of."""
        anonymous = self.definition.spec.include_anonymous
        return int(connection.execute(_PEOPLE, {"anonymous": anonymous}).scalar_one())

    def asked(self, profiles: Sequence[int]) -> Asked:
        """What asks for the differences of some of them."""
        return Asked(
            definition=self.definition.id,
            is_audience=self.definition.kind == "audience",
            evaluation=self.catalog.evaluation(self.definition, Scope.PROFILES),
            profiles=profiles,
        )

    def since(
        self,
        seen: str,
        swept_to: datetime | None,
        as_of: datetime | None,
        reasons: Collection[str] | None = None,
    ) -> dirty.Since:
        """What may have changed the definition since."""
        crossings: tuple[windows.Crossing, ...] = ()
        if swept_to is not None and as_of is not None:
            crossings = tuple(windows.crossings(self.definition.spec.tree, swept_to, as_of))
        return dirty.Since(
            definition=self.definition.id,
            seen=seen,
            reasons=self.catalog.reasons[self.definition.id] if reasons is None else reasons,
            crossings=crossings,
            until=as_of,
            of_accounts=self.definition.spec.of_accounts,
        )

    # --- who ----------------------------------------------------------------------------------------------------

    def _turns_for_all(self, state: State) -> bool:
        if state.swept_to is None:
            return False
        return windows.turns_for_all(self.definition.spec.tree, state.swept_to, self.as_of)

    def _stage_dirty(self, connection: Connection, state: State) -> int | None:
        """Stage the dirty set; None where it is so large that everybody is cheaper."""
        assert state.swept_to is not None
        assert state.touches_seen is not None
        count = dirty.stage(connection, self.since(state.touches_seen, state.swept_to, self.as_of))
        # A tick's cost follows what changed: only where much did, it matters how many there are.
        if count <= BATCH or count <= _ALL_ABOVE * self._roughly(connection):
            return count
        # Who must be told because of a new identity stays staged; the differences join below.
        connection.execute(text("DELETE FROM engage_pending WHERE NOT must_tell"))
        return None

    def _stage_all(self, connection: Connection, state: State) -> int:
        self.has_values = True
        connection.execute(text("CREATE TEMPORARY TABLE IF NOT EXISTS engage_identities (profile_id bigint)"))
        connection.execute(text("TRUNCATE engage_identities"))
        connection.execute(text("INSERT INTO engage_identities SELECT profile_id FROM engage_pending WHERE must_tell"))
        connection.execute(text("TRUNCATE engage_pending"))
        differences.stage(
            connection,
            evaluation_of_all(connection, self.context.warehouse, self.catalog, self.definition),
            definition=self.definition.id,
            is_audience=self.definition.kind == "audience",
            as_of=self.as_of,
        )
        if isinstance(self.definition.spec.tree, tree.SqlRows):
            matches.stage(connection, self.definition.id)
        if state.version is not None and state.version != state.current_version:
            connection.execute(_EVERYONE, {"definition": self.definition.id})
        if state.version != state.current_version:
            connection.execute(_ADOPTED, {"definition": self.definition.id})
        connection.execute(
            text(
                "INSERT INTO engage_pending (profile_id, must_tell) SELECT DISTINCT profile_id, true"
                " FROM engage_identities ON CONFLICT (profile_id) DO UPDATE SET must_tell = true"
            )
        )
        return int(connection.execute(text("SELECT count(*) FROM engage_pending")).scalar_one())

    def _evaluate(self, connection: Connection) -> None:
        """Write down beside those who are staged what they were and are."""
        last = 0
        while True:
            batch = self.next(connection, last, BATCH)
            (found,) = differences.differing(connection, [self.asked([row.profile_id for row in batch])], self.as_of)
            given = {
                "profiles": [difference.profile_id for difference in found],
                "before": [difference.before for difference in found],
                "after": [difference.after for difference in found],
            }
            if found:
                pipeline.rows(connection, _FOUND, given)
            if len(batch) < BATCH:
                break
            last = batch[-1].profile_id
        self.has_values = True

    def _roughly(self, connection: Connection) -> int:
        estimate = int(connection.execute(_ROUGHLY).scalar_one())
        return estimate if estimate >= 0 else self.people(connection)


def evaluation_of_all(
    connection: Connection, warehouse: Warehouse | None, catalog: Catalog, definition: StoredDefinition
) -> Evaluation:
    """What says everybody's value; an SQL trait's rows are read for it first."""
    if isinstance(definition.spec.tree, tree.SqlRows):
        return rows.stage(connection, warehouse, definition.spec.tree)
    return catalog.evaluation(definition, Scope.ALL)
