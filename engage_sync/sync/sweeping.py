"""Sweep: a definition was deleted with `on_delete: sweep`, and everybody who was told hears that there is no value.

It is gone for computing at once. Its snapshot goes batch by batch, each with the ledger's entry and the messages; so
what is left of it says how far the sweep is, and any later one goes on from there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, text

from engage_sync.definitions import versions
from engage_sync.definitions.versions import StoredDefinition
from engage_sync.outbox.enqueue import Priority
from engage_sync.snapshots import differences, runs, states
from engage_sync.snapshots.differences import Difference, Tally
from engage_sync.snapshots.runs import Cause, Progress, RunScope
from engage_sync.sync import writing
from engage_sync.sync.batches import Watcher
from engage_sync.sync.catalog import Catalog, Context
from engage_sync.sync.staging import BATCH
from engage_sync.sync.writing import Work

_LEFT = text("SELECT count(*) FROM snapshots WHERE definition_id = :definition")
_NEXT = text(
    """
    SELECT profile_id, value::text FROM snapshots WHERE definition_id = :definition ORDER BY profile_id LIMIT :limit
    """
)
_IS_DELETED = text("SELECT deleted_at IS NOT NULL FROM definitions WHERE id = :definition")


@dataclass(frozen=True, kw_only=True, slots=True)
class Swept:
    """`people` had a value, of which `messages` tell that it is gone."""

    key: str
    people: int
    messages: int

    def document(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def sweep(engine: Engine, context: Context, *, watch: Watcher | None = None) -> list[Swept]:
    """Sweep what was deleted so and isn't swept yet."""
    with engine.begin() as connection:
        deleted = versions.load_swept(connection)
        catalog = Catalog.load(connection)
        left = {each.id: _left(connection, each) for each in deleted}
    return [_sweep(engine, context, catalog, each, left[each.id], watch) for each in deleted if left[each.id]]


def _sweep(
    engine: Engine,
    context: Context,
    catalog: Catalog,
    definition: StoredDefinition,
    total: int,
    watch: Watcher | None,
) -> Swept:
    progress = Progress()
    run: int | None = None
    done = 0
    while True:
        with engine.begin() as connection:
            state = states.lock(connection, definition.id)
            rows = connection.execute(_NEXT, {"definition": definition.id, "limit": BATCH}).all()
            # Restored in the meantime, it is computed again, and what is left of it stands.
            is_deleted = connection.execute(_IS_DELETED, {"definition": definition.id}).scalar_one()
            as_of = states.instant(connection, state.as_of)
            if rows and is_deleted:
                if run is None:
                    run = runs.start(connection, definition.id, definition.version, Cause.MANUAL, RunScope.ALL)
                progress = _batch(connection, context, catalog, definition, run, rows, as_of, progress)
            if len(rows) < BATCH or not is_deleted:
                if run is not None:
                    runs.finish(connection, run, progress, as_of=as_of)
                break
        done += len(rows)
        if watch:
            watch(definition.key, done, max(total, done))
    return Swept(key=definition.key, people=progress.tally.exited, messages=progress.messages)


def _batch(
    connection: Connection,
    context: Context,
    catalog: Catalog,
    definition: StoredDefinition,
    run: int,
    rows: Any,
    as_of: Any,
    progress: Progress,
) -> Progress:
    nothing = "false" if definition.kind == "audience" else None
    found = [Difference(profile, value, None) for profile, value in rows if value != nothing]
    differences.forget(connection, definition.id, [profile for profile, value in rows if value == nothing])
    if not found:
        return progress
    work = Work(definition=definition, run=run, differences=found)
    written = writing.write(connection, context, catalog, [work], as_of=as_of, priority=Priority.FIRST_PUSH)[
        definition.id
    ]
    return Progress(
        evaluated=progress.evaluated + len(rows),
        tally=progress.tally + Tally(exited=len(found)),
        messages=progress.messages + written.messages,
    )


def _left(connection: Connection, definition: StoredDefinition) -> int:
    return int(connection.execute(_LEFT, {"definition": definition.id}).scalar_one())
