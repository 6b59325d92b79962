"""Who is looked at in a round: of which of its definitions, and of whom; what is too much for one is left out.

Reads the log of touches and the edges once for all definitions of the round; writes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection

from engage_sync.definitions.language.walk import references
from engage_sync.definitions.versions import StoredDefinition
from engage_sync.evaluation import dirty, windows
from engage_sync.evaluation.compiler import Scope
from engage_sync.evaluation.dirty import DirtySet
from engage_sync.snapshots.runs import Cause
from engage_sync.snapshots.states import State
from engage_sync.sync.batches import reads_everybody
from engage_sync.sync.catalog import Catalog
from engage_sync.sync.orders import Order

# Pairs of definition and profile in one round: what a transaction should take, with seconds to spare.
MOST = 20_000
# What a definition may be expected to take in a round; what would take longer delays nobody in a run of its own.
_LONGEST = {Cause.REALTIME: 1.0}
_LONGEST_TICK = 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Opened:
    """What a round begins with: the definitions whose locks it could have, and where those stand."""

    locked: Collection[int]
    states: Mapping[int, State]
    snapshot: str
    clock: datetime
    is_anything_new: bool


@dataclass(kw_only=True, slots=True)
class People:
    """Who is to be looked at for one definition, and those whose identities changed."""

    profiles: set[int] = field(default_factory=set)
    identities: set[int] = field(default_factory=set)


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """The definitions of a round (`now`) with their people, by id; `as_of` None: there are none.

    `busy`, `large` and `rest` are those of a Round.
    """

    now: Sequence[StoredDefinition] = ()
    people: dict[int, People] = field(default_factory=dict)
    as_of: datetime | None = None
    busy: Sequence[StoredDefinition] = ()
    large: Sequence[StoredDefinition] = ()
    rest: Sequence[StoredDefinition] = ()


def choose(
    connection: Connection, catalog: Catalog, order: Order, definitions: Sequence[StoredDefinition], opened: Opened
) -> Choice:
    """Who is looked at now: of definitions given in dependency order, those that are free and may be in a round."""
    return _Choosing(connection, catalog, order, opened).choose(definitions)


class _Choosing:
    def __init__(self, connection: Connection, catalog: Catalog, order: Order, opened: Opened) -> None:
        self._connection = connection
        self._catalog = catalog
        self._order = order
        self._opened = opened
        self._known = opened.states

    def choose(self, definitions: Sequence[StoredDefinition]) -> Choice:
        known = self._known
        busy = [definition for definition in definitions if definition.id not in self._opened.locked]
        able = [each for each in self._without_referrers(definitions, busy) if _is_ready(each, known.get(each.id))]
        # What failed last time would fail this round, and with it all the others.
        failed = [each for each in able if known[each.id].error is not None]
        ready = [each for each in able if known[each.id].error is None]
        ready, behind = self._before_what_waits(ready)
        if not ready:
            return Choice(busy=busy, large=failed)
        as_of = self._instant([known[definition.id] for definition in ready])
        found = dirty.sets(
            self._connection,
            [self._watch(each) for each in ready],
            self._sweeps(ready, as_of),
            MOST,
            dated=self._dated(ready),
            until=as_of,
        )
        now, large, rest = _fitting(ready, found, self._too_much(ready, found, as_of))
        return Choice(
            now=now,
            people={each.id: _people(found, each.id) for each in now},
            as_of=as_of,
            busy=busy,
            large=[*large, *failed],
            rest=[*rest, *behind],
        )

    def _without_referrers(
        self, definitions: Sequence[StoredDefinition], busy: Sequence[StoredDefinition]
    ) -> list[StoredDefinition]:
        """Without the busy ones; on a tick also without what refers to them, which would read them too early."""
        left = {definition.key for definition in busy}
        found = []
        for definition in definitions:
            if definition.key in left:
                continue
            if not self._order.is_realtime and references(definition.spec.tree) & left:
                left.add(definition.key)
                continue
            found.append(definition)
        return found

    def _before_what_waits(
        self, ready: Sequence[StoredDefinition]
    ) -> tuple[list[StoredDefinition], list[StoredDefinition]]:
        """(for this round, for the next): a definition of accounts waits for those of this round that it refers to.

        Who changes for them concerns whole accounts, however large: that must be read as any dirty set is. Real time
        goes on, and finds them among the touches of its next turn.
        """
        for place, definition in enumerate(ready if not self._order.is_realtime else ()):
            if definition.spec.of_accounts and self._catalog.needs[definition.id] & {each.id for each in ready[:place]}:
                return list(ready[:place]), list(ready[place:])
        return list(ready), []

    def _watch(self, definition: StoredDefinition) -> dirty.Watch:
        return dirty.Watch(
            definition_id=definition.id,
            reasons=self._catalog.reasons[definition.id],
            of_accounts=definition.spec.of_accounts,
        )

    def _instant(self, known: Sequence[State]) -> datetime:
        """The order's, or the database's clock now, never below the last instant of any of these definitions."""
        if self._order.as_of is not None:
            return self._order.as_of
        return max([self._opened.clock, *(state.as_of for state in known if state.as_of)])

    def _sweeps(self, ready: Sequence[StoredDefinition], as_of: datetime) -> list[dirty.Sweep]:
        found: dict[dirty.Sweep, None] = {}
        for definition in ready if self._order.sweeps else ():
            state = self._known[definition.id]
            if state.swept_to is None or state.swept_to >= as_of:
                continue
            for crossing in windows.crossings(definition.spec.tree, state.swept_to, as_of):
                # Events turning visible; the other edges of a window lie behind.
                future_only = state.swept_live and crossing.start > state.swept_to
                found[dirty.Sweep(definition_id=definition.id, crossing=crossing, future_only=future_only)] = None
        return list(found)

    def _too_much(
        self, ready: Sequence[StoredDefinition], found: Mapping[int, DirtySet] | None, as_of: datetime
    ) -> set[int]:
        """Those that concern everybody at once, or are expected to take too long."""
        longest = _LONGEST.get(self._order.cause, _LONGEST_TICK) * 1_000_000
        slow = {
            definition
            for definition, mine in (found or {}).items()
            if (self._known[definition].cost or 0.0) * len(mine.profiles) > longest
        }
        if not self._order.sweeps:
            return slow
        return slow | {each.id for each in ready if _turns_for_all(each, self._known[each.id], as_of)}

    def _dated(self, ready: Sequence[StoredDefinition]) -> list[int]:
        if not self._order.sweeps:
            return []
        return [each.id for each in ready if self._catalog.edges(each, Scope.PROFILES) is not None]


def _is_ready(definition: StoredDefinition, state: State | None) -> bool:
    return (
        state is not None
        and state.enabled
        and state.hold is None
        and definition.version == state.current_version
        and not reads_everybody(definition, state)
    )


def _turns_for_all(definition: StoredDefinition, state: State, as_of: datetime) -> bool:
    return state.swept_to is not None and windows.turns_for_all(definition.spec.tree, state.swept_to, as_of)


def _fitting(
    ready: Sequence[StoredDefinition], found: Mapping[int, DirtySet] | None, too_much: Collection[int]
) -> tuple[list[StoredDefinition], list[StoredDefinition], list[StoredDefinition]]:
    """From the front, those that fit into a round; the first that is too much for any; and what stands behind."""
    if found is None:
        return [], [ready[0]], list(ready[1:])
    total = 0
    for place, definition in enumerate(ready):
        size = len(found[definition.id].profiles) if definition.id in found else 0
        is_whole = definition.id not in found or found[definition.id].is_whole
        if size > MOST or not is_whole or definition.id in too_much:
            return list(ready[:place]), [definition], list(ready[place + 1 :])
        total += size
        if total > MOST and place:
            return list(ready[:place]), [], list(ready[place:])
    return list(ready), [], []


def _people(found: Mapping[int, DirtySet] | None, definition: int) -> People:
    mine = (found or {}).get(definition)
    if mine is None:
        return People()
    return People(profiles=set(mine.profiles), identities=set(mine.identities))
