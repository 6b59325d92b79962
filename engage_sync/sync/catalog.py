"""The definitions as computing needs them: in order, with what refers to what, and where each is told."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection

from engage_sync import errors
from engage_sync.definitions import versions
from engage_sync.definitions.language.walk import references
from engage_sync.definitions.model import NO_GUARD, Guard
from engage_sync.definitions.versions import StoredDefinition
from engage_sync.evaluation import dirty, evaluator
from engage_sync.evaluation.compiler import Evaluation, Scope
from engage_sync.evaluation.warehouse import Warehouse
from engage_sync.sync.forwarding import NOWHERE, Routes
from engage_sync.sync.pace import Pace
from engage_sync.sync.telling import Alike

# A definition's id and version, and the scope.
_Compiled = tuple[int, int, Scope]


@dataclass(frozen=True, kw_only=True, slots=True)
class Context:
    """What computing needs to know of the process: ids of its destinations by slug, and what is passed on to them.

    `patience`: seconds that one statement of a run may take. `pace`: how a long one makes way for what is
    urgent. `warehouse` is where SQL traits are read. `stopping` is set when the
    process is about to end. `routes` say whose calls are forwarded where; `alike` compares what those destinations hold
    that can be read. `privacy_key` is the environment's half of what suppressed people are recognised by. `guard` is
    what holds where a definition says nothing, `sources` are the ids of those in engage.yml. `rates` are the calls a
    second that destinations take, by their ids and kinds of call.
    """

    destinations: Mapping[str, int]
    routes: Routes = NOWHERE
    alike: Mapping[int, Alike] = field(default_factory=dict, compare=False)
    privacy_key: bytes = field(default=b"", repr=False)
    guard: Guard = NO_GUARD
    sources: Collection[int] = ()
    rates: Mapping[int, Mapping[str, float]] = field(default_factory=dict, compare=False)
    patience: float = 600.0
    pace: Pace = field(default_factory=Pace, compare=False)
    warehouse: Warehouse | None = field(default=None, compare=False)
    stopping: threading.Event = field(default_factory=threading.Event, compare=False)

    def guard_of(self, definition: StoredDefinition) -> Guard:
        """What may hold a definition."""
        return self.guard if definition.spec.guard is None else definition.spec.guard.over(self.guard)


@dataclass(frozen=True, kw_only=True, slots=True)
class Catalog:
    """All enabled definitions in the order in which they are computed, and how they refer to each other.

    `ids` are by key, `referrers` the ids of those that refer to a key, `needs` of those that an id refers to; `reasons`
    are those of touches that concern an id.
    """

    definitions: tuple[StoredDefinition, ...]
    ids: Mapping[str, int] = field(default_factory=dict)
    referrers: Mapping[str, frozenset[int]] = field(default_factory=dict)
    needs: Mapping[int, frozenset[int]] = field(default_factory=dict)
    reasons: Mapping[int, frozenset[str]] = field(default_factory=dict)
    _evaluations: dict[_Compiled, Evaluation] = field(default_factory=dict, compare=False, repr=False)
    _edges: dict[_Compiled, Evaluation | None] = field(default_factory=dict, compare=False, repr=False)

    @staticmethod
    def load(connection: Connection) -> Catalog:
        return Catalog.of(versions.load(connection))

    @staticmethod
    def of(found: Sequence[StoredDefinition]) -> Catalog:
        """A catalog of these definitions, given in the order in which they are computed."""
        ids = {definition.key: definition.id for definition in found}
        reasons = {definition.id: dirty.reasons(definition.spec.tree, ids) for definition in found}
        referrers: dict[str, set[int]] = defaultdict(set)
        for definition in found:
            for key in references(definition.spec.tree) & ids.keys():
                referrers[key].add(definition.id)
        return Catalog(
            definitions=tuple(found),
            ids=ids,
            referrers={key: frozenset(who) for key, who in referrers.items()},
            needs={
                definition.id: frozenset(ids[key] for key in references(definition.spec.tree) & ids.keys())
                for definition in found
            },
            reasons=reasons,
        )

    def evaluation(self, definition: StoredDefinition, scope: Scope) -> Evaluation:
        """The compiled evaluation of one of them."""
        key = (definition.id, definition.version, scope)
        if key not in self._evaluations:
            self._evaluations[key] = evaluator.evaluation(
                definition.spec.tree,
                include_anonymous=definition.spec.include_anonymous,
                scope=scope,
                catalog=self.ids,
                since=definition.since,
            )
        return self._evaluations[key]

    def edges(self, definition: StoredDefinition, scope: Scope) -> Evaluation | None:
        """The compiled next edges of its dates; None where it compares none with now."""
        key = (definition.id, definition.version, scope)
        if key not in self._edges:
            self._edges[key] = evaluator.edges(definition.spec.tree, scope=scope, catalog=self.ids)
        return self._edges[key]

    def select(self, keys: Collection[str] | None, *, with_references: bool) -> list[StoredDefinition]:
        """The named definitions (None: all), on demand with all that they refer to, in order.

        Raises errors.NotFound, naming the nearest known key.
        """
        if keys is None:
            return list(self.definitions)
        by_key = {definition.key: definition for definition in self.definitions}
        wanted: set[str] = set()
        waiting = list(keys)
        while waiting:
            key = waiting.pop()
            if key in wanted:
                continue
            if key not in by_key:
                raise errors.NotFound(versions.unknown_key(key, by_key))
            wanted.add(key)
            if with_references:
                waiting.extend(references(by_key[key].spec.tree) & by_key.keys())
        return [definition for definition in self.definitions if definition.key in wanted]
