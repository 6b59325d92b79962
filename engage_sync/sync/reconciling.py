"""Reconcile: what each identity was told, against what the destination says it holds.

Asks for each person once, whatever the number of definitions; compares field by field, in the destination's own way. A
difference can be told again (repair), or taken for what was told (adopt). What somebody changed here in the meantime is
left alone. Nobody asks about suppressed people: they are counted, and that is all.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from sqlalchemy import Connection, Engine

from engage_sync import errors
from engage_sync.definitions.language import tree
from engage_sync.definitions.versions import StoredDefinition
from engage_sync.delivery.reading import Reader, Reading, Unread
from engage_sync.destinations.protocol import Holds, Readable, Refused, Request
from engage_sync.profiles import suppression
from engage_sync.snapshots import readback, states
from engage_sync.snapshots.readback import Identity, Standing
from engage_sync.snapshots.runs import RunScope
from engage_sync.sync import retelling, telling
from engage_sync.sync.catalog import Catalog, Context
from engage_sync.sync.retelling import Retelling

# People asked for between two writes; what is lost by a stop.
PAGE = 500
SAMPLE = 1_000
EXAMPLES = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """One field that isn't as it was told."""

    identity: str
    field: str
    told: Any
    holds: Any

    def document(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@dataclass(kw_only=True)
class Comparison:
    """One definition's identities. `open`: something waits, or isn't known; `unread`: nobody could say; `suppressed`:
    nobody asked, as these people are to be left alone.

    `checked` are `equal`, `different`, or `missing` there. `repaired` and `adopted` are those that were written.
    """

    definition: StoredDefinition
    destination: str
    checked: int = 0
    equal: int = 0
    different: int = 0
    missing: int = 0
    open: int = 0
    unread: int = 0
    suppressed: int = 0
    repaired: int = 0
    adopted: int = 0
    messages: int = 0
    # Of those that were found different or missing.
    settled: int = 0
    examples: list[Example] = field(default_factory=list)

    @property
    def drifted(self) -> int:
        """What was found and left as it is."""
        return self.different + self.missing - self.settled

    def document(self) -> dict[str, Any]:
        counts = {
            name: getattr(self, name)
            for name in (
                "checked", "equal", "different", "missing", "open", "unread", "suppressed", "repaired", "adopted",
                "messages",
            )
        }  # fmt: skip
        named = {"key": self.definition.key, "destination": self.destination}
        return {**named, **counts, "examples": [example.document() for example in self.examples]}


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """What to do. `sample` None: everybody. `adopt` asks also for those who were told nothing."""

    keys: Collection[str] | None = None
    sample: int | None = SAMPLE
    repair: bool = False
    adopt: bool = False


@dataclass(kw_only=True, slots=True)
class _Verdicts:
    """What one page says of one definition."""

    different: list[Standing] = field(default_factory=list)
    missing: list[Standing] = field(default_factory=list)
    # What the destination holds of those who were told otherwise (None: nothing), and of those who were told nothing.
    held: list[tuple[Standing, str | None]] = field(default_factory=list)
    new: list[tuple[Standing, str]] = field(default_factory=list)


def reconcile(
    engine: Engine,
    context: Context,
    slug: str,
    destination: Readable,
    reader: Reader,
    order: Order,
    *,
    watch: Callable[[str, int, int], None] | None = None,
) -> list[Comparison]:
    """Compare, and repair or adopt; one comparison a definition, in the order in which they are computed.

    Raises errors.NotFound, errors.UsageError, errors.DestinationUnavailable.
    """
    with engine.begin() as connection:
        chosen = Catalog.load(connection).select(order.keys, with_references=False)
    definitions = [each for each in chosen if slug in each.spec.destinations and each.spec.destinations[slug].identify]
    for each in chosen:
        if order.keys and each not in definitions:
            raise errors.UsageError(f"{each.key} writes no field at {slug}: there is nothing to read back.")
    if order.repair:
        with engine.begin() as connection:
            for each in definitions:
                retelling.require_computed(states.load(connection, [each.id])[each.id], each)
    return _Reconciling(
        engine=engine,
        context=context,
        slug=slug,
        destination=destination,
        reader=reader,
        order=order,
        watch=watch or (lambda _name, _done, _total: None),
        found={each.id: Comparison(definition=each, destination=slug) for each in definitions},
        work={each.id: Retelling(context=context, definition=each, scope=RunScope.TOUCHED) for each in definitions},
    ).run()


@dataclass(frozen=True, kw_only=True)
class _Reconciling:
    engine: Engine
    context: Context
    slug: str
    destination: Readable
    reader: Reader
    order: Order
    watch: Callable[[str, int, int], None]
    found: Mapping[int, Comparison]
    work: Mapping[int, Retelling]

    @property
    def destination_id(self) -> int:
        return self.context.destinations[self.slug]

    def run(self) -> list[Comparison]:
        if not self.found:
            return []
        done, total = 0, self._count()
        try:
            for people, standings in self._pages():
                begun = done

                def read(number: int, begun: int = begun) -> None:
                    self.watch("reading", begun + number, max(total, begun + number))

                silent = self._silent(people)
                readings = self._ask([each for each in people if each not in silent], standings, read)
                self._write(self._compare(standings, readings))
                done += len(people)
        finally:
            for work in self.work.values():
                work.end(self.engine)
        return list(self.found.values())

    # --- whom to ask --------------------------------------------------------------------------------------------

    def _count(self) -> int:
        with self.engine.begin() as connection:
            there = readback.count(connection, self.destination_id, list(self.found), everybody=self.order.adopt)
        return there if self.order.sample is None else min(there, self.order.sample)

    def _pages(self) -> Iterator[tuple[list[Identity], list[Standing]]]:
        """Identities with what they were told of each definition."""
        if self.order.sample is not None:
            people = self._page(None, self.order.sample)
            for start in range(0, len(people), PAGE):
                page = people[start : start + PAGE]
                yield page, self._standings(page)
            return
        after = readback.START
        while people := self._page(after, PAGE):
            yield people, self._standings(people)
            after = people[-1]

    def _page(self, after: Identity | None, limit: int) -> list[Identity]:
        with self.engine.begin() as connection:
            return readback.page(
                connection,
                self.destination_id,
                list(self.found),
                everybody=self.order.adopt,
                after=after,
                limit=limit,
            )

    def _standings(self, people: Sequence[Identity]) -> list[Standing]:
        with self.engine.begin() as connection:
            return readback.standings(
                connection,
                self.destination_id,
                list(self.found),
                people,
                user_id_once=self.destination.has_one_user_a_user_id,
            )

    def _silent(self, people: Sequence[Identity]) -> set[Identity]:
        """Those who are suppressed. Raises errors.UsageError with another key than they were suppressed under."""
        asked = {(person.type, person.value): person for person in people}
        with self.engine.begin() as connection:
            half = suppression.half_if_needed(connection)
            found = suppression.among(connection, half, self.context.privacy_key, asked)
        return {asked[each] for each in found.identifiers}

    def _ask(
        self, people: Sequence[Identity], standings: Sequence[Standing], done: Callable[[int], None]
    ) -> dict[Identity, Reading]:
        readings: dict[Identity, Reading] = {}
        lookups: dict[Identity, Request] = {}
        users = {standing.identity: standing.user_id for standing in standings}
        for person in people:
            lookup = self.destination.lookup(_call(person, users[person], {}))
            if isinstance(lookup, Refused):
                readings[person] = Unread(lookup.reason)
            else:
                lookups[person] = lookup
        finished = 0

        def one() -> None:
            nonlocal finished
            finished += 1
            done(finished)

        answers = asyncio.run(self.reader.read(list(lookups.values()), one))
        return readings | dict(zip(lookups, answers, strict=True))

    # --- what it says -------------------------------------------------------------------------------------------

    def _compare(self, standings: Sequence[Standing], readings: Mapping[Identity, Reading]) -> dict[int, _Verdicts]:
        """What follows; about whom there is no reading, nobody was asked."""
        verdicts: dict[int, _Verdicts] = defaultdict(_Verdicts)
        for standing in standings:
            comparison, into = self.found[standing.definition_id], verdicts[standing.definition_id]
            concerned = standing.version is not None or self.order.adopt
            match readings.get(standing.identity):
                case None:
                    comparison.suppressed += concerned
                case Unread():
                    comparison.unread += concerned
                case Holds(fields=fields):
                    self._judge(comparison, into, standing, fields)
        return verdicts

    def _judge(
        self, comparison: Comparison, into: _Verdicts, standing: Standing, fields: Mapping[str, Any] | None
    ) -> None:
        if standing.is_open:
            comparison.open += 1
        elif standing.version is None or standing.confirmed is None:
            if self.order.adopt and (held := self._held(comparison.definition, standing, fields)) is not None:
                into.new.append((standing, held)) if standing.version is None else into.held.append((standing, held))
        elif fields is None:
            comparison.checked += 1
            comparison.missing += 1
            into.missing.append(standing)
            into.held.append((standing, None))
        else:
            self._judge_known(comparison, into, standing, fields)

    def _judge_known(
        self, comparison: Comparison, into: _Verdicts, standing: Standing, fields: Mapping[str, Any]
    ) -> None:
        assert standing.confirmed is not None
        told = orjson.loads(standing.confirmed)
        expected = self.destination.fields(
            _call(standing.identity, standing.user_id, _traits(comparison.definition, told))
        )
        if isinstance(expected, Refused):
            comparison.unread += 1
            return
        comparison.checked += 1
        wrong = {name: value for name, value in expected.items() if not self.destination.alike(value, fields.get(name))}
        if not wrong:
            comparison.equal += 1
            return
        comparison.different += 1
        for name, value in wrong.items():
            if len(comparison.examples) < EXAMPLES:
                who = f"{standing.identity.type}:{standing.identity.value}"
                comparison.examples.append(Example(identity=who, field=name, told=value, holds=fields.get(name)))
        into.different.append(standing)
        into.held.append((standing, self._held(comparison.definition, standing, fields)))

    def _held(self, definition: StoredDefinition, standing: Standing, fields: Mapping[str, Any] | None) -> str | None:
        """What the destination holds, as if it had been told that: JSON text; None where it is as good as nothing."""
        nothing = orjson.loads(telling.nothing(definition))
        if fields is None:
            return None
        names = self.destination.fields(_call(standing.identity, standing.user_id, _traits(definition, nothing)))
        if isinstance(names, Refused):
            return None
        of_field = {name: fields.get(name) for name in names}
        held: Any = of_field if isinstance(definition.spec.tree, tree.SqlRows) else next(iter(of_field.values()), None)
        if held is None or self.destination.alike(nothing, held):
            return None
        if standing.wanted is not None and self.destination.alike(orjson.loads(standing.wanted), held):
            # In our own writing of dates and numbers, nobody has to compare it again.
            return standing.wanted
        return orjson.dumps(held).decode()

    # --- what follows -------------------------------------------------------------------------------------------

    def _write(self, verdicts: Mapping[int, _Verdicts]) -> None:
        if not (self.order.repair or self.order.adopt):
            return
        for definition, verdict in sorted(verdicts.items()):
            with self.engine.begin() as connection:
                state = states.lock(connection, definition)
                comparison = self.found[definition]
                if self.order.repair:
                    retelling.require_computed(state, comparison.definition)
                write = self._adopt if self.order.adopt else self._repair
                profiles = write(connection, comparison, verdict)
                if retelling.is_computed(state, comparison.definition):
                    comparison.messages += self.work[definition].tell(connection, state, profiles)

    def _repair(self, connection: Connection, comparison: Comparison, verdict: _Verdicts) -> set[int]:
        definition = comparison.definition.id
        doubted = readback.doubt(connection, self.destination_id, definition, verdict.different)
        forgotten = readback.forget(connection, self.destination_id, definition, verdict.missing)
        comparison.repaired += len(doubted) + len(forgotten)
        comparison.settled += len(doubted) + len(forgotten)
        return {*doubted, *forgotten, *_holders(verdict.different), *_holders(verdict.missing)}

    def _adopt(self, connection: Connection, comparison: Comparison, verdict: _Verdicts) -> set[int]:
        definition = comparison.definition.id
        channels = telling.channels(comparison.definition, {self.slug: self.destination_id})
        call_types = sorted({channel.call_type for channel in channels})
        taken = readback.take(connection, self.destination_id, definition, verdict.held)
        adopted = readback.adopt(connection, self.destination_id, definition, call_types, verdict.new)
        comparison.adopted += len(taken) + len(adopted)
        # Some were told something that was taken back: of them there was nothing to compare.
        comparison.settled += min(len(taken), len(verdict.different) + len(verdict.missing))
        return {*taken, *adopted.values()}


def _call(identity: Identity, user_id: str | None, traits: Mapping[str, Any]) -> dict[str, Any]:
    """The identify call by which an identity is told of traits."""
    call: dict[str, Any] = {"type": "identify", "traits": dict(traits)}
    if identity.type == "email":
        call["traits"]["email"] = identity.value
    known = identity.value if identity.type == "user_id" else user_id
    if known is not None:
        call["userId"] = known
    return call


def _traits(definition: StoredDefinition, value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(definition.spec.tree, tree.SqlRows) else {definition.key: value}


def _holders(standings: Sequence[Standing]) -> set[int]:
    return {standing.profile_id for standing in standings if standing.profile_id is not None}
