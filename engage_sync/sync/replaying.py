"""Replay: dead letters are sent again, as far as what they say is what is to be said now.

A forwarded call is a fact, and goes as it was. What a definition says goes by the one rule, as at any computation: what
is true now and wasn't told goes out, under the old message's id where that says just this; what was told since, or is
no longer true, doesn't. So nothing older comes behind something newer, and a mended definition says what it says now.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine

from engage_sync.database import pipeline
from engage_sync.definitions import versions
from engage_sync.definitions.versions import StoredDefinition
from engage_sync.messages.forwarded import EMAIL_CHANGE
from engage_sync.outbox import dead_letters
from engage_sync.outbox.dead_letters import Again, Chosen
from engage_sync.snapshots import settled, states
from engage_sync.snapshots import telling as telling_rule
from engage_sync.snapshots.settled import Ended, ToldKey
from engage_sync.snapshots.states import State
from engage_sync.snapshots.telling import Channel, Telling
from engage_sync.sync import retelling, telling
from engage_sync.sync.batches import Watcher
from engage_sync.sync.catalog import Context

# A transaction holds definitions' locks and what the identities were told, which computations wait for.
_BATCH = 1_000
# Settling holds what an identity was told for milliseconds: a second look finds it free.
_TURNS = 3


@dataclass(kw_only=True)
class Replayed:
    """How many wait again, how many have nothing to say any more, and why others stay open.

    `deleted`, `untold`, `uncomputed` are by the definitions' keys, `unconfigured` by the destinations' slugs.
    """

    waiting: int = 0
    obsolete: int = 0
    busy: int = 0
    deleted: Counter[str] = field(default_factory=Counter)
    untold: Counter[str] = field(default_factory=Counter)
    uncomputed: Counter[str] = field(default_factory=Counter)
    unconfigured: Counter[str] = field(default_factory=Counter)

    @property
    def left_open(self) -> int:
        return self.busy + self.uncomputed.total() + self.unconfigured.total()

    def document(self) -> dict[str, Any]:
        """For machines; "left_open" and "notes" only where there are any."""
        more = {"left_open": self.left_open, "notes": list(self.notes())}
        counts = {"replayed": self.waiting, "obsolete": self.obsolete}
        return {**counts, **{name: value for name, value in more.items() if value}}

    def notes(self) -> Iterator[str]:
        """Sentences about what wasn't sent for another reason than that it was said since."""
        for key, count in sorted(self.deleted.items()):
            yield f"{count:,} of {key}: the definition was deleted, so there is nothing to say of it any more."
        for key, count in sorted(self.untold.items()):
            yield f"{count:,} of {key}: the definition doesn't tell this destination such calls any more."
        for key, count in sorted(self.uncomputed.items()):
            yield (
                f"{count:,} of {key} stay open: it isn't computed in its current version, so what is true isn't known."
                f" First: engage-sync compute {key}"
            )
        for slug, count in sorted(self.unconfigured.items()):
            yield f"{count:,} to {slug} stay open: there is no such destination in engage.yml."
        if self.busy:
            yield f"{self.busy:,} stay open, as somebody is just writing about them: run it again."


def replay(engine: Engine, context: Context, chosen: Chosen, *, watch: Watcher | None = None) -> Replayed:
    """Send chosen dead letters again, each person's in the order in which they were to be said.

    Raises errors.NotFound for names that there aren't.
    """
    work = _Replay(context)
    total = 0
    if watch:
        with engine.begin() as connection:
            total = sum(each["letters"] for each in dead_letters.reasons(connection, chosen))
    done = 0
    for _ in range(_TURNS):
        work.found.busy = 0
        after: int | None = 0
        while after is not None:
            with engine.begin() as connection:
                looked_at, after = work.batch(connection, chosen, after)
            done += looked_at
            if watch:
                watch("replaying", min(done, total), total)
        if not work.found.busy:
            break
    return work.found


@dataclass(frozen=True, slots=True)
class _Definitions:
    """Those that the dead letters are of, by id: `living` have something to say, `uncomputed` not yet."""

    keys: Mapping[int, str]
    living: Mapping[int, StoredDefinition]
    uncomputed: frozenset[int]

    @staticmethod
    def load(connection: Connection, known: Mapping[int, State]) -> _Definitions:
        if not known:
            return _Definitions({}, {}, frozenset())
        stored = {each.id: each for each in versions.load(connection, include_disabled=True)}
        # Everybody is to hear that those have no value any more.
        swept = {each.id: each for each in versions.load_swept(connection)}
        return _Definitions(
            versions.keys(connection),
            {**stored, **swept},
            frozenset(
                number
                for number, state in known.items()
                if number in stored and not retelling.is_computed(state, stored[number])
            ),
        )


class _Replay:
    def __init__(self, context: Context) -> None:
        self._destinations = context.destinations
        self._configured = frozenset(context.destinations.values())
        self._left: set[int] = set()
        self.found = Replayed()

    def batch(self, connection: Connection, chosen: Chosen, after: int) -> tuple[int, int | None]:
        """Look at the next ones; returns how many there were, and where to go on, None at the end."""
        upcoming = dead_letters.upcoming(connection, chosen, after=after, limit=_BATCH)
        if not upcoming:
            return 0, None
        concerned = sorted({row.definition_id for row in upcoming if row.definition_id is not None})
        # Under their locks nobody else enqueues what they say; what is open is read again under them.
        known = {number: states.lock(connection, number) for number in concerned}
        rows = dead_letters.lock(connection, [row.id for row in upcoming if row.id not in self._left])
        held = pipeline.ask(connection, settled.locking({key for row in rows if (key := _key(row))}))
        definitions = _Definitions.load(connection, known)
        sendable = [row for row in rows if self._is_sendable(row, held, definitions)]
        again = [*self._forwarded(sendable), *self._true(connection, sendable, definitions)]
        dead_letters.append(connection, again)
        going = {each.id for each in again}
        over = {row.id for row in rows} - going - self._left
        dead_letters.mark(connection, going, "replayed")
        dead_letters.mark(connection, over, "obsolete")
        self.found.waiting += len(going)
        self.found.obsolete += len(over)
        # What was busy is looked at again.
        self._left -= {row.id for row in rows if _key(row) in held}
        return len(upcoming), upcoming[-1].message_id

    def _is_sendable(self, row: Any, held: Collection[ToldKey], definitions: _Definitions) -> bool:
        """Whether there may be something to say of it now; if not, it is counted as what it is."""
        if _key(row) in held:
            self._left.add(row.id)
            self.found.busy += 1
        elif row.destination_id not in self._configured:
            self._left.add(row.id)
            self.found.unconfigured[row.slug] += 1
        elif row.definition_id is None:
            return True
        elif (definition := definitions.living.get(row.definition_id)) is None:
            self.found.deleted[definitions.keys[row.definition_id]] += 1
        elif not any(_concerns(channel, row) for channel in telling.channels(definition, self._destinations)):
            self.found.untold[definition.key] += 1
        elif row.definition_id in definitions.uncomputed:
            self._left.add(row.id)
            self.found.uncomputed[definition.key] += 1
        else:
            return True
        return False

    def _forwarded(self, rows: Sequence[Any]) -> list[Again]:
        """Since an email's change was refused, the two emails are told apart: it isn't sent any more."""
        return [Again(id=row.id) for row in rows if row.definition_id is None and row.call_type != EMAIL_CHANGE]

    def _true(self, connection: Connection, rows: Sequence[Any], definitions: _Definitions) -> list[Again]:
        """What these identities must be told now, each by the newest dead letter about it."""
        said = sorted((row for row in rows if row.definition_id is not None), key=lambda row: row.told_version)
        if not said:
            return []
        newest = {ToldKey(*_columns(row)): row for row in said}
        channels = [
            channel
            for number in sorted({row.definition_id for row in said})
            for channel in telling.channels(definitions.living[number], self._destinations)
        ]
        affected = sorted({(row.definition_id, row.holder_id) for row in said})
        saying = {
            key: each
            for each in pipeline.ask(connection, telling_rule.needing(channels, affected))
            if (key := ToldKey(*telling_rule.key(each))) in newest and not (each.succeeded or newest[key].is_waiting)
        }
        same = {key for key, each in saying.items() if _says(newest[key], each)}
        settled.restore(connection, [_ended(key, newest[key]) for key in same])
        new_versions = telling_rule.enqueued(connection, [each for key, each in saying.items() if key not in same])
        now = pipeline.ask(connection, states.CLOCK)
        return [
            Again(
                id=newest[key].id,
                profile=each.profile_id,
                definition_version=definitions.living[key.definition_id].version,
                value=None if key in same else each.value,
                told_version=new_versions.get(telling_rule.key(each)),
                as_of=None if key in same else now,
            )
            for key, each in saying.items()
        ]


def _key(row: Any) -> ToldKey | None:
    return None if row.definition_id is None else ToldKey(*_columns(row))


def _columns(row: Any) -> tuple[str, str, int, int, str]:
    return (row.identity_value, row.identity_type, row.destination_id, row.definition_id, row.call_type)


def _concerns(channel: Channel, row: Any) -> bool:
    return bool(channel.destination_id == row.destination_id and channel.call_type == row.call_type)


def _says(row: Any, each: Telling) -> bool:
    """Whether the dead letter is the last that the identity was to be told, and says what is to be said."""
    return bool(row.told_version == row.version and row.value == each.value)


def _ended(key: ToldKey, row: Any) -> Ended:
    return Ended(key=key, told_version=row.told_version, value=row.value)
