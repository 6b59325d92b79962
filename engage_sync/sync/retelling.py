"""Telling again what is true, without computing: after a resync, or where a destination holds something else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from sqlalchemy import Connection, Engine

from engage_sync import errors
from engage_sync.definitions.versions import StoredDefinition
from engage_sync.outbox.enqueue import NewMessage, Priority
from engage_sync.snapshots import runs, states
from engage_sync.snapshots.runs import Cause, Progress, RunScope
from engage_sync.snapshots.states import State
from engage_sync.sync import telling
from engage_sync.sync.catalog import Context


class Rated(Protocol):
    @property
    def budgets(self) -> Mapping[str, float]: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Calls:
    """Messages of a kind to one destination, and how long they take at its rate."""

    destination: str
    call_type: str
    messages: int
    seconds: float | None

    def document(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@dataclass(kw_only=True)
class Retelling:
    """One run that tells again of one definition, in any number of transactions."""

    context: Context
    definition: StoredDefinition
    scope: RunScope
    messages: Counter[tuple[int, str]] = field(default_factory=Counter)
    run: int | None = None
    _evaluated: int = 0

    def tell(self, connection: Connection, state: State, profiles: Collection[int]) -> int:
        """Enqueue what these profiles' identities must be told, under the definition's lock; says how many messages."""
        if not profiles:
            return 0
        if self.run is None:
            self.run = runs.start(connection, self.definition.id, self.definition.version, Cause.RESYNC, self.scope)
        job = telling.Job(
            definition=self.definition,
            channels=telling.channels(self.definition, self.context.destinations),
            profiles=sorted(profiles),
            moved=(),
            run=self.run,
        )
        as_of = states.instant(connection, state.as_of)
        told = telling.tell(
            connection,
            [job],
            as_of=as_of,
            priority=Priority.FIRST_PUSH,
            alike=self.context.alike,
            emails_change=bool(self.context.routes.email_changes),
        )
        self.messages.update(_kinds(told))
        self._evaluated += len(profiles)
        return len(told)

    def end(self, engine: Engine) -> None:
        """Close the run, if one was opened."""
        if self.run is None:
            return
        with engine.begin() as connection:
            state = states.load(connection, [self.definition.id])[self.definition.id]
            progress = Progress(evaluated=self._evaluated, messages=self.messages.total())
            runs.finish(connection, self.run, progress, as_of=state.as_of)

    def calls(self, destinations: Mapping[str, Rated]) -> list[Calls]:
        """What this run enqueued, by destination and kind of call."""
        slugs = {number: slug for slug, number in self.context.destinations.items()}
        return calls({(slugs[number], kind): count for (number, kind), count in self.messages.items()}, destinations)


def calls(messages: Mapping[tuple[str, str], int], destinations: Mapping[str, Rated]) -> list[Calls]:
    """Messages by destination and kind of call, with how long they take."""
    return [
        Calls(destination=slug, call_type=kind, messages=count, seconds=_seconds(destinations[slug], kind, count))
        for (slug, kind), count in sorted(messages.items())
    ]


def require_computed(state: State, definition: StoredDefinition) -> None:
    """See that the snapshot is that of this version.

    Raises errors.ComputationFailed: what is true must be known before anybody is told it again.
    """
    if not is_computed(state, definition):
        raise errors.ComputationFailed(
            f"{definition.key} isn't computed in its current version, so what is true isn't known:"
            f" engage-sync sync {definition.key}"
        )


def is_computed(state: State, definition: StoredDefinition) -> bool:
    """Whether the snapshot is that of this version, and the definition still there."""
    return state.enabled and state.version == state.current_version == definition.version


def _kinds(messages: Sequence[NewMessage]) -> Iterable[tuple[int, str]]:
    return ((message.destination_id, message.call_type) for message in messages)


def _seconds(destination: Rated, kind: str, messages: int) -> float | None:
    rate = destination.budgets.get(kind)
    return round(messages / rate, 1) if rate else None
