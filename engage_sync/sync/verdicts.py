"""Whether what a test expects of a step is so, and where it isn't, what is known of why.

Reads who is who, snapshots and the ledger after the step was computed; writes nothing.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, assert_never

import orjson
from sqlalchemy import Connection, text

from engage_sync.definitions import language
from engage_sync.definitions.language import Position
from engage_sync.definitions.language.problems import listed, shortened
from engage_sync.definitions.model import DefinitionSpec
from engage_sync.definitions.scenarios import Check, Step, Told, shown
from engage_sync.profiles.identifiers import Identifier

# Of all that a definition reads of somebody, so many facts are told.
_MOST_REASONS = 4
_LONGEST_VALUE = 200

_PEOPLE = text(
    """
    SELECT identities.type, identities.value, profiles.id, profiles.is_known
    FROM identities JOIN profiles ON profiles.id = identities.profile_id ORDER BY identities.id
    """
)
_VALUES = text(
    "SELECT snapshots.profile_id, definitions.key, snapshots.value"
    " FROM snapshots JOIN definitions ON definitions.id = snapshots.definition_id"
)
_LAST_CHANGE = text(
    """
    SELECT changes.as_of, changes.after FROM changes JOIN definitions ON definitions.id = changes.definition_id
    WHERE changes.profile_id = :profile AND definitions.key = :key AND changes.as_of <= :at
    ORDER BY changes.as_of DESC, changes.recorded_at DESC LIMIT 1
    """
)
_EVENTS = text(
    "SELECT count(*) AS number, max(timestamp) AS last FROM events"
    " WHERE profile_id = :profile AND name = :name AND timestamp <= :at"
)
_TRAIT = text("SELECT value FROM traits WHERE profile_id = :profile AND name = :name")


@dataclass(frozen=True, kw_only=True, slots=True)
class Heard:
    """A message that was told: to whom, of which definition. `event` is its name, None for identify."""

    key: str
    identity: Identifier
    call_type: str
    event: str | None
    value: Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """One thing that isn't as expected. `hint` is what is known of why, empty where nothing is."""

    at: datetime
    kind: str
    position: Position
    message: str
    key: str | None = None
    person: str | None = None
    expected: str | None = None
    found: str | None = None
    hint: str = ""


def judge(
    connection: Connection,
    step: Step,
    specs: Sequence[DefinitionSpec],
    heard: Sequence[Heard],
    broken: Mapping[str, str],
) -> list[Failure]:
    """All checks of a step that don't hold. `broken` are the errors of definitions that couldn't be computed."""
    court = _Court(connection, step.at, {spec.key: spec for spec in specs}, heard, broken)
    ordered = sorted(step.checks, key=lambda check: (check.position.line, check.position.column))
    return [failure for check in ordered for failure in court.failures(check)]


class _Court:
    """One step's checks against what is so after it."""

    def __init__(
        self,
        connection: Connection,
        at: datetime,
        specs: Mapping[str, DefinitionSpec],
        heard: Sequence[Heard],
        broken: Mapping[str, str],
    ) -> None:
        self.connection, self.at, self.specs, self.heard, self.broken = connection, at, specs, heard, broken
        self.profiles: dict[Identifier, int] = {}
        self.names: dict[int, Identifier] = {}
        self.anonymous: set[int] = set()
        self.values: dict[str, dict[int, Any]] = defaultdict(dict)
        for row in connection.execute(_PEOPLE):
            self.profiles[(row.type, row.value)] = row.id
            self.names.setdefault(row.id, (row.type, row.value))
            if not row.is_known:
                self.anonymous.add(row.id)
        for row in connection.execute(_VALUES):
            self.values[row.key][row.profile_id] = row.value

    def failures(self, check: Check) -> Iterator[Failure]:
        reason = self.broken.get(check.key)
        if reason is not None:
            message = f"{check.key} could not be computed: {reason.splitlines()[0]}"
            yield Failure(at=self.at, kind=check.kind, position=check.position, key=check.key, message=message)
            return
        for person in check.people:
            match check.kind:
                case "in" | "out" | "members":
                    yield from self.membership(check, person)
                case "values":
                    yield from self.value(check, person)
                case "messages":
                    yield from self.messages(check, person)
                case _:
                    assert_never(check.kind)
        if check.kind == "members":
            yield from self.others(check)

    def membership(self, check: Check, person: Identifier) -> Iterator[Failure]:
        if self.is_in(check.key, self.profile(person)) != check.expected:
            yield self.failure(check, person, _membership(check.expected), self.found(check.key, person))

    def others(self, check: Check) -> Iterator[Failure]:
        """Who is in beside those who may be."""
        wanted = {self.profile(person) for person in check.people}
        for profile in self.values[check.key]:
            if profile not in wanted and self.is_in(check.key, profile):
                person = self.names[profile]
                yield self.failure(check, person, "out, as not among the members", self.found(check.key, person))

    def value(self, check: Check, person: Identifier) -> Iterator[Failure]:
        profile = self.profile(person)
        value = None if profile is None else self.values[check.key].get(profile)
        if not _equal(value, check.expected):
            yield self.failure(check, person, _value(check.expected), self.found(check.key, person))

    def messages(self, check: Check, person: Identifier) -> Iterator[Failure]:
        mine = [each for each in self.heard if each.key == check.key and each.identity == person]
        expected: Told = check.expected
        identifies = [each.value for each in mine if each.call_type == "identify"]
        is_identified = bool(identifies) == expected.is_identified
        is_equal = all(_equal(value, expected.identify) for value in identifies)
        if is_identified and is_equal and _names(mine) == set(expected.track):
            return
        wanted = _telling([expected.identify] if expected.is_identified else [], set(expected.track))
        yield self.failure(check, person, wanted, _telling(identifies, _names(mine)))

    # --- what is said of a failure ------------------------------------------------------------------------------

    def failure(self, check: Check, person: Identifier, expected: str, found: str) -> Failure:
        return Failure(
            at=self.at,
            kind=check.kind,
            position=check.position,
            key=check.key,
            person=shown(person),
            expected=expected,
            found=found,
            message=f"{check.key}, {shown(person)}: expected {expected}, found {found}",
            hint="; ".join(self.reasons(check.key, person)),
        )

    def found(self, key: str, person: Identifier) -> str:
        profile = self.profile(person)
        if profile is None:
            return "nobody"
        if self.specs[key].kind == "audience":
            return _membership(self.is_in(key, profile))
        return _value(self.values[key].get(profile))

    def reasons(self, key: str, person: Identifier) -> Iterator[str]:
        """What is known of why somebody is in or out, or has a value."""
        spec, profile = self.specs[key], self.profile(person)
        if profile is None:
            yield "no profile has this identifier: it was refused, as a blocked value or above a limit"
            return
        if profile in self.anonymous and not spec.include_anonymous:
            yield "anonymous: without user id and email nobody counts unless include_anonymous is true"
            return
        yield self.last_change(spec, profile)
        yield from [*self.facts(spec, profile)][:_MOST_REASONS]

    def last_change(self, spec: DefinitionSpec, profile: int) -> str:
        row = self.connection.execute(_LAST_CHANGE, {"profile": profile, "key": spec.key, "at": self.at}).first()
        if row is None:
            return "was never in" if spec.kind == "audience" else "never had a value"
        if spec.kind != "audience":
            return f"{_value(row.after)} since {instant(row.as_of)}"
        return f"{'entered' if row.after is True else 'left'} at {instant(row.as_of)}"

    def facts(self, spec: DefinitionSpec, profile: int) -> Iterator[str]:
        for name in sorted(language.event_names(spec.tree)):
            row = self.connection.execute(_EVENTS, {"profile": profile, "name": name, "at": self.at}).one()
            yield f"{name}: {row.number} so far, the last at {instant(row.last)}" if row.number else f"no {name} so far"
        for name in sorted(language.references(spec.tree)):
            if name in self.specs:
                yield f"{name} is {_value(self.values[name].get(profile))}"
            else:
                value = self.connection.execute(_TRAIT, {"profile": profile, "name": name}).scalar()
                yield f"the trait {name} is {_value(value)}"

    def profile(self, person: Identifier) -> int | None:
        return self.profiles.get(person)

    def is_in(self, key: str, profile: int | None) -> bool:
        value = None if profile is None else self.values[key].get(profile)
        return value is True if self.specs[key].kind == "audience" else value is not None


def instant(moment: datetime) -> str:
    """An instant as files write it."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _membership(is_in: bool) -> str:
    return "in" if is_in else "out"


def _value(value: Any) -> str:
    return "no value" if value is None else shortened(orjson.dumps(value).decode(), _LONGEST_VALUE)


def _telling(identifies: Sequence[Any], events: set[str]) -> str:
    # Several destinations may be told the same.
    values = dict.fromkeys(map(_value, identifies))
    said = [f"identify {value}" for value in values] + [f"track {name}" for name in sorted(events)]
    return listed(said, last="and") if said else "no message"


def _names(heard: Sequence[Heard]) -> set[str]:
    return {each.event for each in heard if each.event is not None}


def _equal(one: Any, other: Any) -> bool:
    """Equality of JSON, where a number's type doesn't matter and its sixteenth digit neither."""
    match one, other:
        case (bool(), _) | (_, bool()):
            return one is other
        case (int() | float(), int() | float()):
            return math.isclose(one, other, rel_tol=1e-9)
        case (list(), list()):
            return len(one) == len(other) and all(map(_equal, one, other))
        case (dict(), dict()):
            return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
        case _:
            return bool(one == other)
