"""One definition by itself: everybody, or a dirty set too large for a round, in transactions of bounded size.

A live run takes a fresh instant in each transaction, under the definition's lock; a run as of a given instant keeps it
and holds the definition throughout. A run that died is repeated: only differences are ever written, which makes that
harmless. A definition that can't be computed is marked with its error.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from engage_sync import errors
from engage_sync.database import engine as database
from engage_sync.database import locks, pipeline
from engage_sync.definitions.language import tree
from engage_sync.definitions.versions import StoredDefinition
from engage_sync.evaluation import dirty
from engage_sync.evaluation.compiler import Scope
from engage_sync.outbox.enqueue import Priority
from engage_sync.snapshots import differences, edges, holds, matches, runs, states
from engage_sync.snapshots.differences import Difference
from engage_sync.snapshots.runs import Cause, Progress, RunScope
from engage_sync.snapshots.states import State
from engage_sync.sync import announcing, guarding, staging, telling, writing
from engage_sync.sync.announcing import Push
from engage_sync.sync.catalog import Catalog, Context
from engage_sync.sync.guarding import Case, Verdict
from engage_sync.sync.staging import Staging

log = structlog.get_logger(__name__)

# Deadlocks and serialization failures (SQLSTATE class 40): the same run may succeed a moment later.
_TRANSIENT = "40"
_ATTEMPTS = 4
_TIMED_OUT = "57014"
_LOCK_PATIENCE = text("SET LOCAL lock_timeout = '60s'")
_STATEMENT_PATIENCE = text("SELECT set_config('statement_timeout', :milliseconds, true)")


@dataclass(frozen=True, kw_only=True, slots=True)
class RunReport:
    """What one run did. `error` and `held` None: it is done.

    `held` is why a guard holds it: `progress` is then what it would do. `push` is what a first one announces.
    """

    run_id: int | None
    key: str
    kind: str
    cause: Cause
    scope: RunScope | None
    as_of: datetime | None
    members: int
    progress: Progress
    error: str | None = None
    held: str | None = None
    push: Push | None = None
    # It failed for want of room on the database's disk, which isn't the definition's own doing.
    is_full: bool = False

    @property
    def status(self) -> str:
        return "failed" if self.error else "held" if self.held else "done"


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
            with _locked_throughout(connection, definition.id, is_needed=hold):
                return run.run(connection)
        except (DBAPIError, errors.ComputationFailed) as failure:
            if isinstance(failure, DBAPIError) and failure.connection_invalidated:
                raise
            reason = str(getattr(failure, "orig", failure)).strip()
            state = getattr(getattr(failure, "orig", None), "sqlstate", None)
            run.is_worth_another_try = state is not None and state.startswith(_TRANSIENT)
            run.is_full = database.is_full(failure)
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
            elif run.is_full:
                reason = str(database.unavailable(failure))
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
    staging: Staging = field(init=False)
    case: Case = field(init=False)
    push: Push | None = None
    run_id: int | None = None
    scope: RunScope | None = None
    first_as_of: datetime | None = None
    progress: Progress = field(default_factory=Progress)
    is_worth_another_try: bool = False
    is_full: bool = False
    _milliseconds: float = 0.0
    _written_as_of: datetime | None = None
    _is_alone: bool = True

    def run(self, connection: Connection) -> RunReport:
        state, seen, total, verdict = self._begin(connection)
        if verdict is not None:
            return self.report(members=state.members, held=verdict.because)
        last = done = 0
        while True:
            began = time.perf_counter()
            with self._transaction(connection):
                now = states.lock(connection, self.definition.id)
                if now.current_version != state.current_version or not now.enabled:
                    raise errors.ComputationFailed("The definition was changed meanwhile; compute it again.")
                guarding.require_not_discarded(self.case, now)
                as_of = self._instant(connection, now)
                step = self.context.pace.step(staging.BATCH)
                batch = self.staging.next(connection, last, step)
                if batch:
                    self._write(connection, batch, now, as_of, seen)
                if len(batch) < step:
                    self._end(connection, state, seen, as_of)
                    break
            last = batch[-1].profile_id
            done += len(batch)
            if self.watch:
                self.watch(self.definition.key, done, total)
            self.context.stopping.wait(self.context.pace.rest(time.perf_counter() - began))
        if self.watch:
            self.watch(self.definition.key, total, total)
        with connection.begin():
            members = states.load(connection, [self.definition.id])[self.definition.id].members
        return self.report(members=members)

    def report(self, *, members: int, error: str | None = None, held: str | None = None) -> RunReport:
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
            held=held,
            push=self.push,
            is_full=self.is_full,
        )

    # --- the first transaction: who is to be looked at ----------------------------------------------------------

    def _begin(self, connection: Connection) -> tuple[State, str, int, Verdict | None]:
        """Choose the scope, stage the profiles that the batches go through, and ask the guard whether they may.

        A verdict holds the run: it is on record, and nothing else is written.
        """
        with self._transaction(connection):
            state = states.lock(connection, self.definition.id)
            if state.current_version != self.definition.version:
                raise errors.ComputationFailed("The definition was changed since it was read; compute it again.")
            if state.version is None and self.cause in (Cause.MANUAL, Cause.TICK):
                self.cause = Cause.FIRST
            self._written_as_of = state.as_of
            seen = states.current_snapshot(connection)
            self.first_as_of = self._instant(connection, state)
            self.staging = Staging(
                context=self.context, catalog=self.catalog, definition=self.definition, as_of=self.first_as_of
            )
            began = time.perf_counter()
            everybody = self.full or reads_everybody(self.definition, state)
            total = self.staging.stage(connection, state, everybody=everybody)
            self.scope = RunScope.ALL if self.staging.has_values else RunScope.DIRTY
            people = self.staging.people(connection) if self.scope is RunScope.ALL else total
            self.progress = Progress(evaluated=people)
            self._milliseconds = (time.perf_counter() - began) * 1000
            self.case = Case(
                context=self.context,
                definition=self.definition,
                state=state,
                as_of=self.first_as_of,
                is_live=self.as_of is None,
            )
            channels = telling.channels(self.definition, self.context.destinations)
            verdict = guarding.judge(connection, self.case, self.staging, total, len(channels))
            if verdict is not None:
                self._hold(connection, self.case, verdict)
                return state, seen, total, verdict
            self.run_id = runs.start(connection, self.definition.id, state.current_version, self.cause, self.scope)
            if state.version is None and not self.is_baseline:
                identities = self.staging.identities(connection)
                self.push = announcing.announce(self.context, self.definition, channels, total, identities)
        if self.watch:
            self.watch(self.definition.key, 0, total)
        return state, seen, total, None

    def _hold(self, connection: Connection, case: Case, verdict: Verdict) -> None:
        assert self.scope is not None
        self.run_id = guarding.record(
            connection,
            case,
            verdict,
            cause=self.cause,
            scope=self.scope,
            evaluated=self.progress.evaluated,
            milliseconds=self._milliseconds,
        )
        self.progress = Progress(evaluated=self.progress.evaluated, tally=verdict.tally, messages=verdict.messages)

    @property
    def is_baseline(self) -> bool:
        """Whether this is where a definition without history starts from: what is so now is told nobody."""
        return self.case.state.version is None and self.definition.spec.include_historical_data is False

    # --- each batch ---------------------------------------------------------------------------------------------

    def _write(self, connection: Connection, batch: Sequence[Any], now: State, as_of: datetime, seen: str) -> None:
        """Snapshot, change, told and message of one batch of people."""
        profiles = [row.profile_id for row in batch]
        if self.staging.has_values:
            moved = self._dirty_since(connection, profiles, as_of, seen)
            # Whose facts changed meanwhile is left to the next run, whose dirty set begins where this one began.
            found = [
                Difference(row.profile_id, row.before, row.after)
                for row in batch
                if row.differs and row.profile_id not in moved
            ]
            self._is_alone &= now.as_of == self._written_as_of
            if not self._is_alone:
                # Somebody else computed since the values were staged; what they wrote isn't written twice.
                found = differences.standing(connection, self.definition.id, found)
        else:
            began = time.perf_counter()
            (found,) = differences.differing(connection, [self.staging.asked(profiles)], as_of)
            self._milliseconds += (time.perf_counter() - began) * 1000
        next_edges = self.catalog.edges(self.definition, Scope.PROFILES)
        if next_edges is not None and self.scope is RunScope.DIRTY:
            # Whose value stands since the first transaction crosses what comes after that.
            since = self.staging.as_of if self.staging.has_values else as_of
            edges.refresh(connection, next_edges, definition=self.definition.id, as_of=since, profiles=profiles)
        work = writing.Work(
            definition=self.definition,
            run=self.run_id or 0,
            differences=found,
            must_tell=[row.profile_id for row in batch if row.must_tell],
        )
        priority = Priority.FIRST_PUSH if self.cause is Cause.FIRST else Priority.TICK
        done = writing.write(
            connection,
            self.context,
            self.catalog,
            [work],
            as_of=as_of,
            priority=priority,
            guarded=self.case.state.version is not None and not self.case.is_approved,
            silently=self.is_baseline,
        )
        if isinstance(self.definition.spec.tree, tree.SqlRows):
            matches.note(connection, self.definition.id, profiles)
        added = done[self.definition.id]
        self._written_as_of = as_of if found else now.as_of
        if self.case.is_approved:
            holds.spend(connection, self.definition.id, added.tally)
        self.progress = Progress(
            evaluated=self.progress.evaluated,
            tally=self.progress.tally + added.tally,
            messages=self.progress.messages + added.messages,
        )

    def _dirty_since(self, connection: Connection, profiles: Sequence[int], as_of: datetime, seen: str) -> set[int]:
        if self.as_of is not None:
            return set()
        assert self.first_as_of is not None
        moved = dirty.among(
            connection, replace(self.staging.since(seen, self.first_as_of, as_of), until=None), profiles
        )
        next_edges = self.catalog.edges(self.definition, Scope.PROFILES)
        if next_edges is not None:
            # Those on record are of an earlier instant: they are written anew when the run ends.
            moved |= edges.coming(connection, next_edges, as_of=self.first_as_of, until=as_of, profiles=profiles)
        return moved

    def _end(self, connection: Connection, state: State, seen: str, as_of: datetime) -> None:
        """t0 becomes the instant of the first transaction: what happened since is the next run's."""
        assert self.first_as_of is not None
        assert self.run_id is not None
        if self.scope is RunScope.ALL:
            next_edges = self.catalog.edges(self.definition, Scope.ALL)
            edges.replace(connection, next_edges, definition=self.definition.id, as_of=self.first_as_of)
        states.advance(connection, state, swept_to=self.first_as_of, seen=seen, live=self.as_of is None, as_of=as_of)
        runs.finish(connection, self.run_id, self.progress, as_of=self.first_as_of)
        guarding.release(connection, self.case)
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


@contextmanager
def _locked_throughout(connection: Connection, definition: int, *, is_needed: bool) -> Iterator[None]:
    """Keep a definition locked over several transactions, so that nobody computes it at another instant in between."""
    if not is_needed:
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
