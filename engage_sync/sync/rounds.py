"""A round: many definitions in one transaction, each for whoever was touched or crossed an edge.

Real time is a round whenever something was touched; ticks and computations on demand are rounds, too. A round reads the
log of touches and the edges once, evaluates each definition for its own people, passes whoever changed on to those that
refer to it, and writes all differences together. What is too much for a round, can't be computed in it, or may have to
be held, is left to a run of its own (batches).
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import structlog
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from engage_sync.database import locks, pipeline
from engage_sync.database.pipeline import Query
from engage_sync.definitions.versions import StoredDefinition
from engage_sync.evaluation import dirty
from engage_sync.evaluation.compiler import Scope
from engage_sync.snapshots import differences, edges, runs, states
from engage_sync.snapshots.differences import Asked, Difference
from engage_sync.snapshots.runs import Progress, RunScope
from engage_sync.snapshots.states import State
from engage_sync.sync import choosing, guarding, writing
from engage_sync.sync.batches import RunReport
from engage_sync.sync.catalog import Catalog, Context
from engage_sync.sync.choosing import Opened, People
from engage_sync.sync.guarding import Case, Inputs
from engage_sync.sync.orders import Order
from engage_sync.sync.writing import Work

log = structlog.get_logger(__name__)

# Milliseconds of evaluation in one round trip of real time above which somebody in it must have become slow.
_SLOW_TOGETHER = 500.0
# None of our transactions stays open for long: a statement that was expected to be quick and isn't, ends the round.
_STATEMENT_PATIENCE = Query("SET LOCAL statement_timeout = '10s'", {}, pipeline.nothing)
# All that a round reads, it looks up; but of a bound that is known only as it runs ("later than what was seen") the
# planner assumes that a third of the log lies behind it, and would read the log whole.
_SETTINGS = Query(
    "SELECT set_config('lock_timeout', '60s', true) AS patience, set_config('enable_seqscan', 'off', true) AS scans",
    {},
    pipeline.nothing,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Round:
    """What a round did. Left are those that were `busy`, and those with more to do than a round should take: `large`.

    `rest` are definitions behind these that weren't begun with. In real time there are no reports: runs have them.
    """

    reports: Sequence[RunReport] = ()
    touched: int = 0
    differences: int = 0
    messages: int = 0
    busy: Sequence[StoredDefinition] = ()
    large: Sequence[StoredDefinition] = ()
    rest: Sequence[StoredDefinition] = ()


def run(
    engine: Engine, context: Context, catalog: Catalog, definitions: Sequence[StoredDefinition], order: Order
) -> Round:
    """One round over definitions in dependency order; those that need everybody to be looked at are left out.

    A definition whose computation fails ends the round: all of them are then returned as `large`, each to be run alone.
    """
    if not definitions:
        return Round()
    try:
        with engine.begin() as connection:
            return _Round(connection, context, catalog, order).run(definitions)
    except DBAPIError as failure:
        if failure.connection_invalidated:
            raise
        log.warning("round_failed", cause=order.cause, reason=str(failure.orig).splitlines()[0])
        return Round(large=definitions)


class _Round:
    def __init__(self, connection: Connection, context: Context, catalog: Catalog, order: Order) -> None:
        self._connection = connection
        self._context = context
        self._catalog = catalog
        self._order = order
        self._done: dict[int, Progress] = {}
        self._known: Mapping[int, State] = {}
        self._milliseconds: dict[int, float] = {}
        self._costs: dict[int, tuple[float, int]] = {}
        self._runs: dict[int, int] = {}
        # Those that a guard may hold: nothing of them is written here.
        self._left: dict[int, StoredDefinition] = {}
        self._inputs: Inputs | None = None

    def run(self, definitions: Sequence[StoredDefinition]) -> Round:
        began = time.perf_counter()
        opened = self._open(definitions)
        if not opened.is_anything_new:
            return Round()
        self._known = opened.states
        choice = choosing.choose(self._connection, self._catalog, self._order, definitions, opened)
        now, people, as_of = choice.now, choice.people, choice.as_of
        if as_of is None:
            return Round(busy=choice.busy, large=choice.large)
        if self._order.sweeps:
            self._inputs = Inputs(self._connection, self._context, as_of)
        self._compute(now, people, as_of)
        now = [each for each in now if each.id not in self._left]
        concerned = now if self._order.sweeps else [each for each in now if people[each.id].profiles]
        saw = states.seeing(
            [definition.id for definition in concerned],
            seen=opened.snapshot,
            as_of=as_of,
            swept_to=as_of if self._order.sweeps else None,
            live=self._order.as_of is None,
        )
        self._record(now, people, as_of, (time.perf_counter() - began) * 1000, saw)
        return Round(
            reports=() if self._order.is_realtime else self._reports(now, people, as_of),
            touched=sum(len(each.profiles) for each in people.values()),
            differences=sum(map(_total, self._done.values())),
            messages=sum(progress.messages for progress in self._done.values()),
            busy=choice.busy,
            large=[*self._left.values(), *choice.large],
            rest=choice.rest,
        )

    # --- the beginning --------------------------------------------------------------------------------------------

    def _open(self, definitions: Sequence[StoredDefinition]) -> Opened:
        """Take the definitions' locks, in the order of ids, and read where each stands: all in one round trip.

        The snapshot comes before anything is read, so that nothing falls between this round and the next; states and
        clock after the locks are held.
        """
        ids = [definition.id for definition in definitions]
        attempting = locks.waiting_for_each if self._order.waits else locks.attempting_each
        _, is_new, locked, _, snapshot, known, clock = pipeline.ask_each(
            self._connection,
            [
                _SETTINGS,
                dirty.asking_for_news(ids),
                attempting(locks.LockClass.DEFINITION, ids),
                _STATEMENT_PATIENCE,
                states.CURRENT_SNAPSHOT,
                states.loading(ids),
                states.CLOCK,
            ],
        )
        return Opened(
            locked=locked,
            states={definition: state for definition, state in known.items() if definition in locked},
            snapshot=snapshot,
            clock=clock,
            is_anything_new=is_new or self._order.sweeps or not self._order.is_realtime,
        )

    # --- what is so, and writing it -----------------------------------------------------------------------------

    def _compute(self, now: Sequence[StoredDefinition], people: dict[int, People], as_of: datetime) -> None:
        """Evaluate each definition's people, in dependency order, and write the differences of many together."""
        # Of those that ask of accounts, see _before_what_waits.
        by_id = {definition.id: definition for definition in now if not definition.spec.of_accounts}
        if not self._order.is_realtime and now:
            self._runs = runs.start_each(
                self._connection, [(each.id, each.version) for each in now], self._order.cause, RunScope.DIRTY
            )
        together: list[StoredDefinition] = []
        for definition in now:
            if self._catalog.needs[definition.id] & {each.id for each in together}:
                # It reads the snapshot of what it refers to: that must be written first.
                self._evaluate(together, by_id, people, as_of)
                together.clear()
            together.append(definition)
        self._evaluate(together, by_id, people, as_of)

    def _evaluate(
        self,
        together: Sequence[StoredDefinition],
        by_id: Mapping[int, StoredDefinition],
        people: Mapping[int, People],
        as_of: datetime,
    ) -> None:
        """Definitions of which none refers to another: evaluated in one round trip, and written."""
        asked = [definition for definition in together if people[definition.id].profiles]
        waiting: list[Work] = []
        for definition, found in zip(asked, self._differing(asked, people, as_of), strict=True):
            if found and self._may_be_held(definition, found, as_of):
                self._left[definition.id] = definition
                continue
            self._cross_edges(definition, sorted(people[definition.id].profiles), as_of)
            for referrer in self._catalog.referrers.get(definition.key, frozenset()) & by_id.keys():
                people[referrer].profiles.update(difference.profile_id for difference in found)
            must_tell = sorted(people[definition.id].identities)
            if found or must_tell:
                waiting.append(Work(definition=definition, run=0, differences=found, must_tell=must_tell))
        self._write(waiting, as_of, by_id.keys())

    def _may_be_held(self, definition: StoredDefinition, found: Sequence[Difference], as_of: datetime) -> bool:
        case = Case(
            context=self._context,
            definition=definition,
            state=self._known[definition.id],
            as_of=as_of,
            is_live=self._order.as_of is None,
        )
        return guarding.may_be_held(case, differences.tally(found, definition.kind == "audience"), self._inputs)

    def _cross_edges(self, definition: StoredDefinition, profiles: Sequence[int], as_of: datetime) -> None:
        next_edges = self._catalog.edges(definition, Scope.PROFILES)
        if next_edges is not None:
            edges.refresh(self._connection, next_edges, definition=definition.id, as_of=as_of, profiles=profiles)

    def _write(self, waiting: Sequence[Work], as_of: datetime, here: Collection[int]) -> None:
        if not waiting:
            return
        work = [replace(each, run=self._runs[each.definition.id]) for each in waiting]
        self._done.update(
            writing.write(
                self._connection,
                self._context,
                self._catalog,
                work,
                as_of=as_of,
                priority=self._order.priority,
                aware=here,
            )
        )

    def _minutes(self, definitions: Sequence[StoredDefinition]) -> list[Query[dict[int, int]]]:
        """What opens the runs of this minute that real time writes into."""
        missing = sorted((each.id, each.version) for each in definitions if each.id not in self._runs)
        return [runs.opening_minutes(missing)] if missing and self._order.is_realtime else []

    def _differing(
        self, definitions: Sequence[StoredDefinition], people: Mapping[int, People], as_of: datetime
    ) -> list[list[Difference]]:
        asked = [
            Asked(
                definition=definition.id,
                is_audience=definition.kind == "audience",
                evaluation=self._catalog.evaluation(definition, Scope.PROFILES),
                profiles=sorted(people[definition.id].profiles),
            )
            for definition in definitions
        ]
        # On a tick each by itself, and so whatever isn't known yet: that tells what it costs. Real time can't wait for
        # a round trip a definition.
        known = [each for each in asked if self._order.is_realtime and self._known[each.definition].cost is not None]
        alone = [each for each in asked if each not in known]
        found = self._timed(known, as_of, self._minutes(definitions))
        if sum(self._milliseconds.get(each.definition, 0.0) for each in known) > _SLOW_TOGETHER:
            states.forget_cost(self._connection, [each.definition for each in known])
        for each in alone:
            found |= self._timed([each], as_of)
            self._costs[each.definition] = (self._milliseconds[each.definition], len(each.profiles))
        return [found[definition.id] for definition in definitions]

    def _timed(
        self, asked: Sequence[Asked], as_of: datetime, minutes: Sequence[Query[dict[int, int]]] = ()
    ) -> dict[int, list[Difference]]:
        began = time.perf_counter()
        answers = pipeline.ask_each(self._connection, [*minutes, *(differences.finding(each, as_of) for each in asked)])
        for opened in answers[: len(minutes)]:
            self._runs |= opened
        found = answers[len(minutes) :]
        share = (time.perf_counter() - began) * 1000 / max(1, sum(len(each.profiles) for each in asked))
        self._milliseconds |= {each.definition: share * len(each.profiles) for each in asked}
        return {each.definition: mine for each, mine in zip(asked, found, strict=True)}

    # --- on record ----------------------------------------------------------------------------------------------

    def _record(
        self,
        now: Sequence[StoredDefinition],
        people: Mapping[int, People],
        as_of: datetime,
        took: float,
        saw: Query[None],
    ) -> None:
        """What each did, and how long: its own evaluation, and its share of what the round did for all."""
        concerned = [each for each in now if people[each.id].profiles] if self._order.is_realtime else list(now)
        share = (took - sum(self._milliseconds.values())) / max(1, len(concerned))
        turns = {
            self._runs[each.id]: (self._progress(each, people), self._milliseconds.get(each.id, 0.0) + share)
            for each in concerned
        }
        queries = [saw]
        begun = [self._runs[left] for left in self._left if left in self._runs]
        if begun:
            queries.append(runs.dropping(begun))
        if turns:
            queries.append(runs.adding(turns, as_of))
        if self._costs:
            queries.append(states.learning_cost(self._costs))
        pipeline.ask_each(self._connection, queries)

    def _progress(self, definition: StoredDefinition, people: Mapping[int, People]) -> Progress:
        progress = self._done.get(definition.id, Progress())
        return replace(progress, evaluated=len(people[definition.id].profiles))

    def _reports(
        self, now: Sequence[StoredDefinition], people: Mapping[int, People], as_of: datetime
    ) -> list[RunReport]:
        members = states.load(self._connection, [definition.id for definition in now])
        return [
            RunReport(
                run_id=self._runs[definition.id],
                key=definition.key,
                kind=definition.kind,
                cause=self._order.cause,
                scope=RunScope.DIRTY,
                as_of=as_of,
                members=members[definition.id].members,
                progress=self._progress(definition, people),
            )
            for definition in now
        ]


def _total(progress: Progress) -> int:
    return progress.tally.entered + progress.tally.exited + progress.tally.changed
