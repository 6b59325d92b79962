"""Real time: what was touched since the last turn, for all definitions that don't wait for a tick, in one transaction.

A turn reads the log of touches once, evaluates only the definitions that it concerns, for the touched people only,
and writes nothing where nothing was touched. A definition whose lock is taken is left for its next turn. Where a
definition can't be computed, or has more to do than a turn should take, it gets a run of its own.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import structlog
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from engage_sync.database import locks
from engage_sync.definitions.language.walk import references
from engage_sync.definitions.versions import StoredDefinition
from engage_sync.evaluation import dirty, windows
from engage_sync.evaluation.compiler import Scope
from engage_sync.evaluation.evaluator import evaluation
from engage_sync.outbox.enqueue import Priority
from engage_sync.snapshots import differences, runs, states
from engage_sync.snapshots.differences import Difference, Tally
from engage_sync.snapshots.runs import Cause, Progress
from engage_sync.snapshots.states import State
from engage_sync.sync.compute import Catalog, Context, RunReport, Work, compute_one, write

log = structlog.get_logger(__name__)

# Pairs of definition and profile in one turn; above it, the definitions concerned are run in batches of their own.
TURN = 20_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """What a turn did. `again`: there is more to do at once."""

    touched: int = 0
    differences: int = 0
    messages: int = 0
    again: bool = False
    reports: list[RunReport] = field(default_factory=list)


@dataclass(kw_only=True, slots=True)
class _Work:
    """What a turn has to look at for one definition: profiles, and those whose identities changed."""

    profiles: set[int] = field(default_factory=set)
    identities: set[int] = field(default_factory=set)


def turn(
    engine: Engine, context: Context, catalog: Catalog, definitions: Sequence[StoredDefinition], *, sweep: bool
) -> Turn:
    """One turn over the real-time definitions; with `sweep` also the edges that time has crossed since the last one.

    Definitions that were never computed, or not in their current version, are left to the scheduler's first run.
    """
    try:
        with engine.begin() as connection:
            done, overfull = _turn(connection, context, catalog, definitions, sweep=sweep)
    except DBAPIError as failure:
        if failure.connection_invalidated:
            raise
        # One of them fails: each gets a run of its own, in which the failing one is found and marked.
        log.warning("realtime_turn_failed", reason=str(failure.orig).splitlines()[0])
        done, overfull = Turn(), [definition.id for definition in definitions]
    if not overfull:
        return done
    reports = [
        compute_one(engine, context, catalog, definition, cause=Cause.REALTIME)
        for definition in definitions
        if definition.id in overfull
    ]
    return Turn(touched=done.touched, differences=done.differences, messages=done.messages, reports=reports)


def _turn(
    connection: Connection,
    context: Context,
    catalog: Catalog,
    definitions: Sequence[StoredDefinition],
    *,
    sweep: bool,
) -> tuple[Turn, list[int]]:
    known = states.load(connection, [definition.id for definition in definitions])
    ready = [definition for definition in definitions if _is_ready(definition, known)]
    if not ready:
        return Turn(), []
    if not sweep and not dirty.touched(connection, _watches(ready, known, catalog), 1):
        return Turn(), []
    # In the order of ids, as everywhere; whoever holds one keeps it, and the next turn comes soon.
    held = locks.attempt_each(connection, locks.LockClass.DEFINITION, [definition.id for definition in ready])
    ready = [definition for definition in ready if definition.id in held]
    known = states.load(connection, sorted(held))
    ready = [definition for definition in ready if _is_ready(definition, known)]
    if not ready:
        return Turn(), []
    seen = states.current_snapshot(connection)
    last = [state.as_of for state in known.values() if state.as_of]
    as_of = states.instant(connection, max(last, default=None))
    work = _collect(connection, ready, known, catalog, as_of, sweep=sweep)
    if sum(len(each.profiles) for each in work.values()) >= TURN:
        return Turn(), [definition.id for definition in ready if work[definition.id].profiles]
    if not work and not sweep:
        return Turn(), []
    done = _compute(connection, context, catalog, ready, work, as_of)
    seers = [definition.id for definition in ready]
    states.saw(connection, seers, seen=seen, as_of=as_of, swept_to=as_of if sweep else None)
    return done, []


def _is_ready(definition: StoredDefinition, known: dict[int, State]) -> bool:
    state = known.get(definition.id)
    return (
        state is not None
        and state.enabled
        and state.version == definition.version == state.current_version
        and state.touches_seen is not None
    )


def _watches(ready: Sequence[StoredDefinition], known: dict[int, State], catalog: Catalog) -> list[dirty.Watch]:
    return [
        dirty.Watch(
            definition_id=definition.id,
            reasons=catalog.reasons[definition.id],
            seen=known[definition.id].touches_seen or "",
        )
        for definition in ready
    ]


def _collect(
    connection: Connection,
    ready: Sequence[StoredDefinition],
    known: dict[int, State],
    catalog: Catalog,
    as_of: datetime,
    *,
    sweep: bool,
) -> dict[int, _Work]:
    """Who is to be looked at for each definition: the touched, and those whose events crossed an edge."""
    work: dict[int, _Work] = defaultdict(_Work)
    for definition, profile, is_identity in dirty.touched(connection, _watches(ready, known, catalog), TURN):
        work[definition].profiles.add(profile)
        if is_identity:
            work[definition].identities.add(profile)
    if sweep:
        for definition, profile in dirty.crossed(connection, _sweeps(ready, known, as_of), TURN):
            work[definition].profiles.add(profile)
    return work


def _sweeps(ready: Sequence[StoredDefinition], known: dict[int, State], as_of: datetime) -> list[dirty.Sweep]:
    found = []
    for definition in ready:
        state = known[definition.id]
        if state.swept_to is None or state.swept_to >= as_of:
            continue
        for crossing in windows.crossings(definition.spec.tree, state.swept_to, as_of):
            # Events turning visible; the other edges of a window lie behind.
            entering = crossing.start > state.swept_to
            future_only = state.swept_live and entering
            found.append(dirty.Sweep(definition_id=definition.id, crossing=crossing, future_only=future_only))
    return found


def _compute(
    connection: Connection,
    context: Context,
    catalog: Catalog,
    ready: Sequence[StoredDefinition],
    work: dict[int, _Work],
    as_of: datetime,
) -> Turn:
    """Evaluate the touched people of each definition, in dependency order, and write all differences together."""
    began = time.perf_counter()
    concerned = [definition for definition in ready if definition.id in work]
    minutes = runs.open_minutes(connection, sorted((definition.id, definition.version) for definition in concerned))
    done: dict[int, Progress] = {}
    waiting: list[Work] = []

    def flush() -> None:
        if waiting:
            done.update(write(connection, context, catalog, waiting, as_of=as_of, priority=Priority.REALTIME))
            waiting.clear()

    for definition in concerned:
        mine = work[definition.id]
        if references(definition.spec.tree) & {each.definition.key for each in waiting}:
            # It reads the snapshot of what it refers to: that must be written first.
            flush()
        found = _differing(connection, catalog, definition, sorted(mine.profiles), as_of)
        if found or mine.identities:
            must_tell = sorted(mine.identities)
            run = minutes[definition.id]
            waiting.append(Work(definition=definition, run=run, differences=found, must_tell=must_tell))
    flush()
    share = (time.perf_counter() - began) * 1000 / max(1, len(concerned))
    turns = {}
    for definition in concerned:
        progress = done.get(definition.id, Progress())
        evaluated = len(work[definition.id].profiles)
        turns[minutes[definition.id]] = (replace(progress, evaluated=evaluated), share)
    runs.add(connection, turns, as_of)
    changed = {definition for definition, progress in done.items() if progress.tally != Tally()}
    return Turn(
        touched=sum(len(work[definition.id].profiles) for definition in concerned),
        differences=sum(map(_total, done.values())),
        messages=sum(progress.messages for progress in done.values()),
        again=any(definition.id in changed and definition.key in catalog.referenced for definition in concerned),
    )


def _differing(
    connection: Connection, catalog: Catalog, definition: StoredDefinition, profiles: Sequence[int], as_of: datetime
) -> list[Difference]:
    spec = definition.spec
    compiled = evaluation(
        spec.tree, include_anonymous=spec.include_anonymous, scope=Scope.PROFILES, catalog=catalog.ids
    )
    return differences.differing(
        connection,
        compiled,
        definition=definition.id,
        is_audience=definition.kind == "audience",
        as_of=as_of,
        profiles=profiles,
    )


def _total(progress: Progress) -> int:
    return progress.tally.entered + progress.tally.exited + progress.tally.changed


def due_for_first_run(definitions: Collection[StoredDefinition], known: dict[int, State]) -> list[StoredDefinition]:
    """Definitions that were never computed, or not in their current version, in the given order."""
    found = []
    for definition in definitions:
        state = known.get(definition.id)
        if state is None or state.version != definition.version:
            found.append(definition)
    return found
