"""Resync: everybody's identities are told again what is true.

What they were told becomes unknown, and the one rule makes the messages, of the lowest priority. Events say what
happened, not what is true: they are told again only where that is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, text

from engage_sync import errors
from engage_sync.definitions.versions import StoredDefinition
from engage_sync.snapshots import readback, states
from engage_sync.snapshots.runs import RunScope
from engage_sync.sync import retelling, telling
from engage_sync.sync.batches import Watcher
from engage_sync.sync.catalog import Catalog, Context
from engage_sync.sync.retelling import Calls, Rated, Retelling
from engage_sync.sync.staging import BATCH

_PEOPLE = text("SELECT count(*) FROM snapshots WHERE definition_id = :definition")


@dataclass(frozen=True, kw_only=True, slots=True)
class Resync:
    """`people` have a value or were told one."""

    run_id: int | None
    key: str
    people: int
    calls: list[Calls]

    def document(self) -> dict[str, Any]:
        """For machines; `seconds` is how long the slowest destination takes at its rate."""
        return {
            "run_id": self.run_id,
            "key": self.key,
            "people": self.people,
            "messages": sum(each.messages for each in self.calls),
            "seconds": max((each.seconds or 0.0 for each in self.calls), default=0.0),
            "calls": [each.document() for each in self.calls],
        }


def resync(
    engine: Engine,
    context: Context,
    key: str,
    destinations: Mapping[str, Rated],
    *,
    events: bool = False,
    watch: Watcher | None = None,
) -> Resync:
    """Enqueue for everybody what is true; `events`: also the events that told it.

    Raises errors.NotFound, errors.UsageError where it is told by events only, errors.ComputationFailed where it isn't
    computed.
    """
    with engine.begin() as connection:
        (definition,) = Catalog.load(connection).select([key], with_references=False)
        total = int(connection.execute(_PEOPLE, {"definition": definition.id}).scalar_one())
    call_types = _call_types(definition, context, events=events)
    work = Retelling(context=context, definition=definition, scope=RunScope.ALL)
    last = people = 0
    while True:
        with engine.begin() as connection:
            state = states.lock(connection, definition.id)
            retelling.require_computed(state, definition)
            profiles = readback.concerned(connection, definition.id, after=last, limit=BATCH)
            readback.doubt_people(connection, definition.id, call_types, profiles)
            work.tell(connection, state, profiles)
        people += len(profiles)
        if watch:
            watch(key, people, max(total, people))
        if len(profiles) < BATCH:
            break
        last = profiles[-1]
    work.end(engine)
    return Resync(run_id=work.run, key=key, people=people, calls=work.calls(destinations))


def _call_types(definition: StoredDefinition, context: Context, *, events: bool) -> list[str]:
    found = {channel.call_type for channel in telling.channels(definition, context.destinations)}
    if not found:
        raise errors.UsageError(f"{definition.key} tells no destination of engage.yml anything.")
    if not events:
        found.discard("track")
    if not found:
        raise errors.UsageError(
            f"{definition.key} is told by events only, which say what happened and would happen again there."
            f" To send them all the same: engage-sync resync {definition.key} --events"
        )
    return sorted(found)
