"""A definition over a past range, as if it had run then; so do those that it refers to. Nothing that lasts is written.

The first instant is evaluated for everybody, each further one for whoever crossed an edge since, or again for everybody
where that has shown to be quicker. Each instant is a short transaction of its own: one that stayed open would make live
computations read the whole log of touches since it began. Facts are those that are known when an instant is evaluated.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from sqlalchemy import Connection, Engine, text

from engage_sync import errors
from engage_sync.definitions import versions
from engage_sync.definitions.model import DefinitionSpec
from engage_sync.definitions.order import dependencies, find_cycles, in_order
from engage_sync.definitions.versions import StoredDefinition
from engage_sync.evaluation import dates, windows
from engage_sync.evaluation.compiler import Scope
from engage_sync.snapshots import shadow
from engage_sync.snapshots.differences import Tally
from engage_sync.snapshots.timeline import Step, instants
from engage_sync.sync import patience
from engage_sync.sync.catalog import Catalog, Context

# People evaluated in one statement.
_BATCH = 20_000
# One by one, a person is taken to cost so many times what one costs among all, until it was measured.
_ALONE = 5.0
_PEOPLE = text("SELECT count(*) FROM profiles")

Watcher = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Past:
    """A definition at one instant: members (for a trait: people with a value), and the changes since the one before."""

    as_of: datetime
    members: int
    tally: Tally


@dataclass(frozen=True, kw_only=True, slots=True)
class Backtest:
    """`is_applied` False: the definition, as it was computed here, is not (or not in this version) in the database."""

    key: str
    kind: str
    query: str
    is_applied: bool
    past: Sequence[Past]


def backtest(
    engine: Engine,
    context: Context,
    specs: Sequence[DefinitionSpec],
    key: str,
    *,
    start: datetime,
    end: datetime,
    step: Step = Step.DAY,
    watch: Watcher | None = None,
) -> Backtest:
    """Compute a definition as of each instant from `start` to `end`. `specs` are the workspace's, which go before those
    that were applied.

    Its first run is at `start`, where everybody who is in enters; `include_historical_data` reaches back from there.
    Raises errors.NotFound, errors.UsageError for a range without end, errors.ComputationFailed for a timeout.
    """
    moments = instants(start, end, step)
    with engine.connect() as connection:
        with connection.begin():
            applied = {each.key: each for each in versions.load(connection, include_disabled=True)}
        catalog = _suppose(specs, applied, key, moments[0])
        definition = catalog.definitions[-1]
        past: list[Past] = []
        with shadow.prepared(connection):
            run = _Run(connection=connection, context=context, catalog=catalog)
            for number, as_of in enumerate(moments):
                if watch:
                    watch(key, number, len(moments))
                past.append(run.advance(as_of))
    stored = applied.get(key)
    return Backtest(
        key=key,
        kind=definition.kind,
        query=definition.spec.query,
        is_applied=stored is not None and stored.spec.computes_like(definition.spec),
        past=past,
    )


@dataclass(slots=True)
class _Cost:
    """Seconds that evaluating a definition takes: for everybody, and for one person by itself (None: not measured)."""

    everybody: float = 0.0
    each: float | None = None


@dataclass(kw_only=True)
class _Run:
    """The definition that is asked for, the last in the catalog, after those it refers to; going through time."""

    connection: Connection
    context: Context
    catalog: Catalog
    last: datetime | None = None
    members: int = 0
    people: int = 0
    _costs: dict[int, _Cost] = field(default_factory=dict)

    def advance(self, as_of: datetime) -> Past:
        """Go on to an instant."""
        tally = Tally()
        with patience.reading(self.connection, self.context.patience):
            if self.last is None:
                self.people = int(self.connection.execute(_PEOPLE).scalar_one())
            for definition in self.catalog.definitions:
                tally = self._compute(definition, as_of)
        if self.last is None:
            with patience.reading(self.connection, self.context.patience):
                shadow.analyze(self.connection)
        self.last = as_of
        self.members += tally.entered - tally.exited
        return Past(as_of=as_of, members=self.members, tally=tally)

    def _compute(self, definition: StoredDefinition, as_of: datetime) -> Tally:
        if self.last is None or self._turns_for_all(definition, self.last, as_of):
            return self._everybody(definition, as_of)
        crossings = list(windows.crossings(definition.spec.tree, self.last, as_of))
        count = shadow.cross(self.connection, definition.id, crossings, of_accounts=definition.spec.of_accounts)
        if count * self._each(definition) > self._costs[definition.id].everybody:
            return self._everybody(definition, as_of)
        return self._dirty(definition, as_of, count)

    def _turns_for_all(self, definition: StoredDefinition, last: datetime, as_of: datetime) -> bool:
        """Where dates in data are compared with now, finding whose edge has come costs as much as evaluating all."""
        tree = definition.spec.tree
        return bool(dates.dated(tree)) or windows.turns_for_all(tree, last, as_of)

    def _each(self, definition: StoredDefinition) -> float:
        cost = self._costs[definition.id]
        return cost.each if cost.each is not None else _ALONE * cost.everybody / max(1, self.people)

    def _everybody(self, definition: StoredDefinition, as_of: datetime) -> Tally:
        began = time.perf_counter()
        tally = self._settle(definition, as_of, None)
        if self.last is None:
            self._costs[definition.id] = _Cost()
        # The first time includes writing down what everybody is; that is told apart as soon as there is a second.
        self._costs[definition.id].everybody = time.perf_counter() - began
        return tally

    def _dirty(self, definition: StoredDefinition, as_of: datetime, count: int) -> Tally:
        began = time.perf_counter()
        tally = Tally()
        for profiles in shadow.pages(self.connection, definition.id, _BATCH):
            tally += self._settle(definition, as_of, profiles)
        if count >= _BATCH / 20:
            # Of fewer, the time is that of a round trip.
            self._costs[definition.id].each = (time.perf_counter() - began) / count
        return tally

    def _settle(self, definition: StoredDefinition, as_of: datetime, profiles: Sequence[int] | None) -> Tally:
        return shadow.settle(
            self.connection,
            self.catalog.evaluation(definition, Scope.ALL if profiles is None else Scope.PROFILES),
            definition=definition.id,
            is_audience=definition.kind == "audience",
            as_of=as_of,
            profiles=profiles,
            referrers=sorted(self.catalog.referrers.get(definition.key, frozenset())),
        )


def _suppose(
    specs: Sequence[DefinitionSpec], applied: dict[str, StoredDefinition], key: str, start: datetime
) -> Catalog:
    """The definition and all that it refers to, in order, under ids of their own, as if made at `start` or before."""
    known = {each.key: each.spec for each in applied.values()} | {spec.key: spec for spec in specs}
    if key not in known:
        raise errors.NotFound(versions.unknown_key(key, known))
    enabled = {name: spec for name, spec in known.items() if spec.enabled or name == key}
    needs = dependencies(list(enabled.values()))
    wanted: set[str] = set()
    waiting = [key]
    while waiting:
        name = waiting.pop()
        if name not in wanted:
            wanted.add(name)
            waiting.extend(needs[name])
    chosen = in_order([spec for name, spec in enabled.items() if name in wanted])
    for cycle in find_cycles(dependencies(chosen)):
        raise errors.UsageError(f"definitions refer to each other in a circle: {' -> '.join([*cycle, cycle[0]])}")
    numbered = enumerate(chosen, start=1)
    return Catalog.of([_as_if(spec, number, applied.get(spec.key), start) for number, spec in numbered])


def _as_if(spec: DefinitionSpec, number: int, stored: StoredDefinition | None, start: datetime) -> StoredDefinition:
    """A definition under an id of the backtest's own, made at `start` if not before."""
    if stored is not None:
        return replace(stored, id=number, spec=spec, created_at=min(stored.created_at.astimezone(UTC), start))
    return StoredDefinition(
        id=number,
        public_id="",
        kind=spec.kind,
        key=spec.key,
        version=0,
        enabled=True,
        file=spec.file,
        created_at=start,
        spec=spec,
    )
