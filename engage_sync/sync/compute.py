"""Computing definitions: in rounds where the dirty set is enough, else alone; now or as of an instant; on demand, on a
tick, in real time."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection, Engine

from engage_sync import errors
from engage_sync.definitions.versions import StoredDefinition
from engage_sync.snapshots import states
from engage_sync.snapshots.runs import Cause
from engage_sync.snapshots.states import State
from engage_sync.sync import batches, rounds
from engage_sync.sync.batches import RunReport, Watcher
from engage_sync.sync.catalog import Catalog, Context
from engage_sync.sync.orders import Order


def compute(
    engine: Engine,
    context: Context,
    keys: Collection[str] | None = None,
    *,
    as_of: datetime | None = None,
    full: bool = False,
    cause: Cause = Cause.MANUAL,
    watch: Watcher | None = None,
) -> list[RunReport]:
    """Compute definitions now, or as of an instant, and enqueue what must be told; in dependency order.

    `as_of` (aware) may repeat the last computed instant, but not go before it: errors.NotMonotonic, before anything is
    written. `full` ignores the dirty set. `watch(key, done, total)` hears of the progress of each definition.
    """
    with engine.begin() as connection:
        catalog = Catalog.load(connection)
        chosen = catalog.select(keys, with_references=as_of is not None)
        if as_of is not None:
            _refuse_the_past(connection, chosen, as_of)
    order = Order(cause=cause, as_of=as_of, waits=True)
    return compute_each(engine, context, catalog, chosen, order, full=full, watch=watch)


def compute_each(
    engine: Engine,
    context: Context,
    catalog: Catalog,
    definitions: Sequence[StoredDefinition],
    order: Order,
    *,
    full: bool = False,
    watch: Watcher | None = None,
) -> list[RunReport]:
    """Compute these definitions, given in dependency order: in rounds where the dirty set is enough, else one by one.

    What goes wrong in a definition is its report's `error`; the others go on. Busy ones are left out unless `order`
    waits for them.
    """
    with engine.begin() as connection:
        known = states.load(connection, [definition.id for definition in definitions])

    def alone(definition: StoredDefinition) -> RunReport:
        return batches.compute_one(
            engine, context, catalog, definition, as_of=order.as_of, full=full, cause=order.cause, watch=watch
        )

    reports: list[RunReport] = []
    together: list[StoredDefinition] = []

    def flush() -> None:
        for done in in_rounds(engine, context, catalog, together, order):
            if watch:
                for report in done.reports:
                    watch(report.key, report.progress.evaluated, report.progress.evaluated)
            reports.extend(done.reports)
            reports.extend(alone(definition) for definition in done.large)
        together.clear()

    for definition in definitions:
        if full or goes_alone(definition, known.get(definition.id)):
            flush()
            reports.append(alone(definition))
        else:
            together.append(definition)
    flush()
    return reports


def in_rounds(
    engine: Engine, context: Context, catalog: Catalog, definitions: Sequence[StoredDefinition], order: Order
) -> Iterator[rounds.Round]:
    """Rounds over these definitions until each was in one; what they call large is the caller's, before the next."""
    waiting: Sequence[StoredDefinition] = list(definitions)
    while waiting:
        done = rounds.run(engine, context, catalog, waiting, order)
        yield done
        waiting = done.rest


def turn(
    engine: Engine, context: Context, catalog: Catalog, definitions: Sequence[StoredDefinition], *, sweeps: bool
) -> rounds.Round:
    """One turn of real time over its definitions; with `sweeps` also the edges that time has crossed since the last.

    Definitions that were never computed, or not in their current version, are left to their first run; what the turn
    calls large, to runs of their own.
    """
    return rounds.run(engine, context, catalog, definitions, Order(cause=Cause.REALTIME, sweeps=sweeps))


def needing_everybody(definitions: Collection[StoredDefinition], known: Mapping[int, State]) -> set[int]:
    """The ids of those of which only a computation for everybody says what they are now: new ones above all."""
    return {each.id for each in definitions if each.id not in known or batches.needs_everybody(each, known[each.id])}


def goes_alone(definition: StoredDefinition, state: State | None) -> bool:
    """What needs everybody, what is held, and what failed last time, so that it fails no round again."""
    if state is None or state.error is not None or state.hold is not None:
        return True
    return batches.reads_everybody(definition, state)


def _refuse_the_past(connection: Connection, chosen: Sequence[StoredDefinition], as_of: datetime) -> None:
    known = states.load(connection, [definition.id for definition in chosen])
    for definition in chosen:
        last = known[definition.id].as_of if definition.id in known else None
        if last is not None and as_of < last:
            raise errors.NotMonotonic(
                f"{definition.key} was last computed as of {last.isoformat()}, which is after {as_of.isoformat()}."
                " The ledger isn't rewritten: give an instant from then on."
            )
