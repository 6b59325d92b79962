"""One definition by itself: everybody, or a dirty set too large for a round, in transactions of bounded size.

A live run takes a fresh instant in each transaction, under the definition's lock; a run as of a given instant keeps it
and holds the definition throughout. A run that died is repeated: only differences are ever written, which makes that
harmless. A definition that can't be computed is marked with its error.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime

import structlog
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from engage_sync import errors
from engage_sync.database import locks, pipeline
from engage_sync.definitions.language import tree
from engage_sync.definitions.versions import StoredDefinition
from engage_sync.evaluation import dirty, rows, windows
from engage_sync.evaluation.compiler import Evaluation, Scope
from engage_sync.evaluation.warehouse import Warehouse
from engage_sync.outbox.enqueue import Priority
from engage_sync.snapshots import differences, edges, matches, runs, states
from engage_sync.snapshots.differences import Difference
from engage_sync.snapshots.runs import Cause, Progress, RunScope
from engage_sync.snapshots.states import State
from engage_sync.sync import writing
from engage_sync.sync.catalog import Catalog, Context

log = structlog.get_logger(__name__)

# People in one transaction: large enough that its commit doesn't count, small enough that none stays open for seconds.
BATCH = 5_000
# Above this share of all profiles, looking everybody up at once is cheaper than one by one.
_ALL_ABOVE = 0.2
# Deadlocks and serialization failures (SQLSTATE class 40): the same run may succeed a moment later.
_TRANSIENT = "40"
_ATTEMPTS = 4
_TIMED_OUT = "57014"
_LOCK_PATIENCE = text("SET LOCAL lock_timeout = '60s'")
_STATEMENT_PATIENCE = text("SELECT set_config('statement_timeout', :milliseconds, true)")
_PEOPLE = text("SELECT count(*) FROM profiles WHERE is_known OR :anonymous")
# Roughly how many profiles there are, without counting them; -1 before the first ANALYZE.
_ROUGHLY = text("SELECT reltuples::bigint FROM pg_class WHERE oid = to_regclass('profiles')")
_NEXT = text(
    """
    SELECT profile_id, before::text, after::text, differs, must_tell FROM engage_pending
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


@dataclass(frozen=True, kw_only=True, slots=True)
class RunReport:
    """What one run did. `error` None: it is done."""

    run_id: int | None
    key: str
    kind: str
    cause: Cause
    scope: RunScope | None
    as_of: datetime | None
    members: int
    progress: Progress
    error: str | None = None


Watcher = Callable[[str, int, int], None]


def needs_everybody(definition: StoredDefinition, state: State) -> bool:
    """Whether nothing less than a computation for all profiles says what a definition is now."""
    return state.version != definition.version or state.swept_to is None or state.touches_seen is None


def reads_everybody(definition: StoredDefinition, state: State) -> bool:
    """Whether the next computation is one for all profiles: of an SQL trait, each is."""
    return isinstance(definition.spec.tree, tree.SqlRows) or needs_everybody(definition, state)


def compute_one(
    engine: Engine,
    context: Context,
    catalog: Catalog,
    definition: StoredDefinition,
    *,
    as_of: datetime | None = None,
    full: bool = False,
    cause: Cause = Cause.MANUAL,
    watch: Watcher | None = None,
) -> RunReport:
    """Compute one definition; whatever goes wrong in it becomes its report's `error`, with its snapshot as it was.

    A deadlock (with a merge of profiles, say) is Postgres's word to try again; the run that it ended stays on record.
    """
    for _ in range(_ATTEMPTS - 1):
        run = _Run(
            context=context, catalog=catalog, definition=definition, as_of=as_of, full=full, cause=cause, watch=watch
        )
        report = _attempt(engine, run)
        if not run.is_worth_another_try:
            return report
    run = _Run(
        context=context, catalog=catalog, definition=definition, as_of=as_of, full=full, cause=cause, watch=watch
    )
    return _attempt(engine, run)


def _attempt(engine: Engine, run: _Run) -> RunReport:
    definition = run.definition
    with engine.connect() as connection:
        try:
            # Rows that were read must be written before anybody reads them anew: no touch tells that they changed.
            hold = run.as_of is not None or isinstance(definition.spec.tree, tree.SqlRows)
            with _held(connection, definition.id, hold=hold):
                return run.run(connection)
        except (DBAPIError, errors.ComputationFailed) as failure:
            if isinstance(failure, DBAPIError) and failure.connection_invalidated:
                raise
            reason = str(getattr(failure, "orig", failure)).strip()
            state = getattr(getattr(failure, "orig", None), "sqlstate", None)
            run.is_worth_another_try = state is not None and state.startswith(_TRANSIENT)
            connection.rollback()
            if run.context.stopping.is_set():
                # Cut short by us: it says nothing about the definition, and will be repeated.
                reason = "The process was stopped; the run is repeated."
                run.is_worth_another_try = False
            elif state == _TIMED_OUT:
                reason = (
                    f"It took longer than {run.context.patience:g} seconds (ENGAGE_SYNC_COMPUTE_TIMEOUT)."
                    " Narrow its windows, or give it more time."
                )
            with connection.begin():
                if not run.context.stopping.is_set():
                    states.fail(connection, definition.id, reason)
                if run.run_id is not None:
                    runs.finish(connection, run.run_id, run.progress, as_of=run.first_as_of, error=reason)
            log.error("computation_failed", key=definition.key, reason=reason.splitlines()[0])
            return run.report(members=0, error=reason)


@dataclass(kw_only=True)
class _Run:
    """One computation of one definition, on one connection."""

    context: Context
    catalog: Catalog
    definition: StoredDefinition
    as_of: datetime | None
    full: bool
    cause: Cause
    watch: Watcher | None
    run_id: int | None = None
    scope: RunScope | None = None
    first_as_of: datetime | None = None
    progress: Progress = field(default_factory=Progress)
    is_worth_another_try: bool = False
    _milliseconds: float = 0.0

    def run(self, connection: Connection) -> RunReport:
        state, seen, total = self._begin(connection)
        last = 0
        done = 0
        while True:
            began = time.perf_counter()
            with self._transaction(connection):
                now = states.lock(connection, self.definition.id)
                if now.current_version != state.current_version or not now.enabled:
                    raise errors.ComputationFailed("The definition was changed meanwhile; compute it again.")
                as_of = self._instant(connection, now)
                batch = connection.execute(_NEXT, {"last": last, "limit": BATCH}).all()
                if batch:
                    self._write(connection, batch, as_of, seen)
                if len(batch) < BATCH:
                    self._end(connection, state, seen, as_of)
                    break
            last = batch[-1].profile_id
            done += len(batch)
            if self.watch:
                self.watch(self.definition.key, done, total)
            # A first push has hours at its destination's rate: meanwhile real time needs the processor more.
            self.context.stopping.wait((time.perf_counter() - began) * self.context.rests)
        if self.watch:
            self.watch(self.definition.key, total, total)
        with connection.begin():
            members = states.load(connection, [self.definition.id])[self.definition.id].members
        return self.report(members=members)

    def report(self, *, members: int, error: str | None = None) -> RunReport:
        return RunReport(
            run_id=self.run_id,
            key=self.definition.key,
            kind=self.definition.kind,
            cause=self.cause,
            scope=self.scope,
            as_of=self.first_as_of,
            members=members,
            progress=self.progress,
            error=error,
        )

    # --- the first transaction: who is to be looked at ----------------------------------------------------------

    def _begin(self, connection: Connection) -> tuple[State, str, int]:
        """Choose the scope, and stage the profiles that the batches go through."""
        with self._transaction(connection):
            dirty.prepare(connection)
            state = states.lock(connection, self.definition.id)
            if state.current_version != self.definition.version:
                raise errors.ComputationFailed("The definition was changed since it was read; compute it again.")
            if state.version is None and self.cause in (Cause.MANUAL, Cause.TICK):
                self.cause = Cause.FIRST
            seen = states.current_snapshot(connection)
            self.first_as_of = self._instant(connection, state)
            everybody = self.full or reads_everybody(self.definition, state) or self._turns_for_all(state)
            total = None
            if everybody:
                self._stage_identities(connection, state)
            else:
                total = self._stage_dirty(connection, state)
            self.scope = RunScope.ALL if total is None else RunScope.DIRTY
            self.run_id = runs.start(connection, self.definition.id, state.current_version, self.cause, self.scope)
            began = time.perf_counter()
            if total is None:
                total = self._stage_all(connection, state)
            people = self._people(connection) if self.scope is RunScope.ALL else total
            self.progress = Progress(evaluated=people)
            self._milliseconds = (time.perf_counter() - began) * 1000
        if self.watch:
            self.watch(self.definition.key, 0, total)
        return state, seen, total

    def _turns_for_all(self, state: State) -> bool:
        assert self.first_as_of is not None
        if state.swept_to is None:
            return False
        return windows.turns_for_all(self.definition.spec.tree, state.swept_to, self.first_as_of)

    def _stage_identities(self, connection: Connection, state: State) -> None:
        """Everybody is looked at, but who gained or lost an identity must be told though nothing else differs."""
        if state.touches_seen is not None:
            dirty.stage(connection, self._since(state.touches_seen, None, None, reasons=["identity"]))

    def _stage_dirty(self, connection: Connection, state: State) -> int | None:
        """Stage the dirty set; None where it is so large that everybody is cheaper."""
        assert state.swept_to is not None
        assert state.touches_seen is not None
        assert self.first_as_of is not None
        count = dirty.stage(connection, self._since(state.touches_seen, state.swept_to, self.first_as_of))
        # A tick's cost follows what changed: only where much did, it matters how many there are.
        if count <= BATCH or count <= _ALL_ABOVE * self._roughly(connection):
            return count
        # Who must be told because of a new identity stays staged; the differences join below.
        connection.execute(text("DELETE FROM engage_pending WHERE NOT must_tell"))
        return None

    def _stage_all(self, connection: Connection, state: State) -> int:
        assert self.first_as_of is not None
        connection.execute(text("CREATE TEMPORARY TABLE IF NOT EXISTS engage_identities (profile_id bigint)"))
        connection.execute(text("TRUNCATE engage_identities"))
        connection.execute(text("INSERT INTO engage_identities SELECT profile_id FROM engage_pending WHERE must_tell"))
        connection.execute(text("TRUNCATE engage_pending"))
        differences.stage(
            connection,
            evaluation_of_all(connection, self.context.warehouse, self.catalog, self.definition),
            definition=self.definition.id,
            is_audience=self.definition.kind == "audience",
            as_of=self.first_as_of,
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

    # --- each batch ---------------------------------------------------------------------------------------------

    def _write(self, connection: Connection, batch: Sequence[object], as_of: datetime, seen: str) -> None:
        """Snapshot, change, told and message of one batch of people."""
        people = [(int(row[0]), row[1], row[2], bool(row[3]), bool(row[4])) for row in batch]  # type: ignore[index]
        profiles = [row[0] for row in people]
        if self.scope is RunScope.ALL:
            moved = self._dirty_since(connection, profiles, as_of, seen)
            # Whose facts changed meanwhile is left to the next run, whose dirty set begins where this one began.
            found = [Difference(row[0], row[1], row[2]) for row in people if row[3] and row[0] not in moved]
        else:
            began = time.perf_counter()
            asked = differences.Asked(
                definition=self.definition.id,
                is_audience=self.definition.kind == "audience",
                evaluation=self._evaluation(Scope.PROFILES),
                profiles=profiles,
            )
            (found,) = differences.differing(connection, [asked], as_of)
            self._milliseconds += (time.perf_counter() - began) * 1000
            next_edges = self.catalog.edges(self.definition, Scope.PROFILES)
            if next_edges is not None:
                edges.refresh(connection, next_edges, definition=self.definition.id, as_of=as_of, profiles=profiles)
        work = writing.Work(
            definition=self.definition,
            run=self.run_id or 0,
            differences=found,
            must_tell=[row[0] for row in people if row[4]],
        )
        priority = Priority.FIRST_PUSH if self.cause is Cause.FIRST else Priority.TICK
        done = writing.write(connection, self.context, self.catalog, [work], as_of=as_of, priority=priority)
        if isinstance(self.definition.spec.tree, tree.SqlRows):
            matches.note(connection, self.definition.id, profiles)
        added = done[self.definition.id]
        self.progress = Progress(
            evaluated=self.progress.evaluated,
            tally=self.progress.tally + added.tally,
            messages=self.progress.messages + added.messages,
        )

    def _dirty_since(self, connection: Connection, profiles: Sequence[int], as_of: datetime, seen: str) -> set[int]:
        if self.as_of is not None:
            return set()
        assert self.first_as_of is not None
        moved = dirty.among(connection, replace(self._since(seen, self.first_as_of, as_of), until=None), profiles)
        next_edges = self.catalog.edges(self.definition, Scope.PROFILES)
        if next_edges is not None:
            # Those on record are of an earlier instant: they are written anew when the run ends.
            moved |= edges.coming(connection, next_edges, as_of=self.first_as_of, until=as_of, profiles=profiles)
        return moved

    def _since(
        self,
        seen: str,
        swept_to: datetime | None,
        as_of: datetime | None,
        reasons: Collection[str] | None = None,
    ) -> dirty.Since:
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

    def _end(self, connection: Connection, state: State, seen: str, as_of: datetime) -> None:
        """t0 becomes the instant of the first transaction: what happened since is the next run's."""
        assert self.first_as_of is not None
        assert self.run_id is not None
        if self.scope is RunScope.ALL:
            next_edges = self.catalog.edges(self.definition, Scope.ALL)
            edges.replace(connection, next_edges, definition=self.definition.id, as_of=self.first_as_of)
        states.advance(connection, state, swept_to=self.first_as_of, seen=seen, live=self.as_of is None, as_of=as_of)
        runs.finish(connection, self.run_id, self.progress, as_of=self.first_as_of)
        if self.scope is RunScope.DIRTY:
            # Everybody's evaluation reads in another way, and says little of what one person costs.
            pipeline.ask(
                connection, states.learning_cost({self.definition.id: (self._milliseconds, self.progress.evaluated)})
            )

    # --- small things -------------------------------------------------------------------------------------------

    @contextmanager
    def _transaction(self, connection: Connection) -> Iterator[None]:
        with connection.begin():
            connection.execute(_LOCK_PATIENCE)
            patience = str(round(self.context.patience * 1000))
            connection.execute(_STATEMENT_PATIENCE, {"milliseconds": patience})
            yield

    def _instant(self, connection: Connection, state: State) -> datetime:
        return self.as_of or states.instant(connection, state.as_of)

    def _roughly(self, connection: Connection) -> int:
        estimate = int(connection.execute(_ROUGHLY).scalar_one())
        return estimate if estimate >= 0 else self._people(connection)

    def _people(self, connection: Connection) -> int:
        anonymous = self.definition.spec.include_anonymous
        return int(connection.execute(_PEOPLE, {"anonymous": anonymous}).scalar_one())

    def _evaluation(self, scope: Scope) -> Evaluation:
        return self.catalog.evaluation(self.definition, scope)


def evaluation_of_all(
    connection: Connection, warehouse: Warehouse | None, catalog: Catalog, definition: StoredDefinition
) -> Evaluation:
    """What says everybody's value; an SQL trait's rows are read for it first."""
    if isinstance(definition.spec.tree, tree.SqlRows):
        return rows.stage(connection, warehouse, definition.spec.tree)
    return catalog.evaluation(definition, Scope.ALL)


@contextmanager
def _held(connection: Connection, definition: int, *, hold: bool) -> Iterator[None]:
    """Hold a definition over several transactions, so that nobody computes it at another instant in between."""
    if not hold:
        yield
        return
    with connection.begin():
        connection.execute(text("SET LOCAL lock_timeout = '60s'"))
        locks.wait_for_session(connection, locks.LockClass.DEFINITION, definition)
    try:
        yield
    finally:
        if not connection.closed and not connection.invalidated:
            connection.rollback()
            with connection.begin():
                locks.release(connection, locks.LockClass.DEFINITION, definition)
