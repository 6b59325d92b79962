"""The typed tree of a query: what `parse` gives, and what the compiler, `explain` and `describe` read.

Nodes are plain data. Two trees are equal when they mean the same text, wherever it stood: positions are left out of
equality and hash. A stream of events never stands alone in a tree: `event('A').exists()` is kept as `count() >= 1`,
`event('A').absent()` as `count() = 0`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import TypeAlias

EACH_ITEM = "$"
"""The path element that means "each item of the array that stands here"."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where a node begins in the query's own text; both count from 1, columns in characters."""

    line: int
    column: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    position: Position = field(default=Position(1, 1), compare=False, repr=False)


class Unit(StrEnum):
    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"


UNIT_DELTAS = {
    Unit.MINUTE: timedelta(minutes=1),
    Unit.HOUR: timedelta(hours=1),
    Unit.DAY: timedelta(days=1),
    Unit.WEEK: timedelta(weeks=1),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Duration(Node):
    """A length of time as it was written: 24 hours and 1 day are different nodes, as dates compare differently."""

    amount: int
    unit: Unit

    @property
    def delta(self) -> timedelta:
        return UNIT_DELTAS[self.unit] * self.amount

    @property
    def in_calendar_days(self) -> bool:
        """Whether a comparison of dates by this duration looks at UTC calendar dates rather than instants."""
        return self.unit in (Unit.DAY, Unit.WEEK)


LiteralType: TypeAlias = str | int | Decimal | date | datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class LiteralValue(Node):
    """A value written in the query. Numbers are exact, datetimes in UTC, booleans the texts 'true' and 'false'."""

    value: LiteralType


@dataclass(frozen=True, kw_only=True, slots=True)
class TraitRef(Node):
    """A trait of the profile, or another definition by its key (the first element of the path).

    `of_account`: a trait of the account, as group calls set it; never another definition.
    """

    path: tuple[str, ...]
    of_account: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class PropertyRef(Node):
    """A property of the event at hand, or (`parent`) of the event whose `where` encloses this event."""

    path: tuple[str, ...]
    parent: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class ContextRef(Node):
    """A field of the context of the event at hand."""

    path: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class EntityRef(Node):
    """A linked entity by its slug; understood, never computed."""

    slug: str


EventField: TypeAlias = PropertyRef | ContextRef
Scalar: TypeAlias = LiteralValue | TraitRef | PropertyRef | ContextRef


@dataclass(frozen=True, kw_only=True, slots=True)
class Where(Node):
    condition: Boolean


@dataclass(frozen=True, kw_only=True, slots=True)
class Sources(Node):
    """Leaves out the events of these sources."""

    exclude: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Within(Node):
    """Events of the last `duration` before as_of, or (`of_parent`) of the first `duration` after the parent event."""

    duration: Duration
    of_parent: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Between(Node):
    """Events `nearest` to `farthest` before as_of, or (`of_parent`) after the parent event; nearest < farthest."""

    nearest: Duration
    farthest: Duration
    of_parent: bool = False


Filter: TypeAlias = Where | Sources | Within | Between


@dataclass(frozen=True, kw_only=True, slots=True)
class Stream(Node):
    """Events of one name, less those that a filter leaves out. The filters' order, as written, has no meaning."""

    event: str
    filters: tuple[Filter, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Count(Node):
    pass


@dataclass(frozen=True, kw_only=True, slots=True)
class Sum(Node):
    of: EventField


@dataclass(frozen=True, kw_only=True, slots=True)
class Avg(Node):
    of: EventField


@dataclass(frozen=True, kw_only=True, slots=True)
class Min(Node):
    of: EventField
    as_string: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Max(Node):
    of: EventField
    as_string: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Mode(Node):
    """The most frequent value, if it came `minimum` times or more. `as_array`: an array counts whole, not by item."""

    of: EventField
    minimum: int = 1
    as_array: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class First(Node):
    of: EventField


@dataclass(frozen=True, kw_only=True, slots=True)
class Last(Node):
    of: EventField


@dataclass(frozen=True, kw_only=True, slots=True)
class Unique(Node):
    """The sorted list of distinct values, as text."""

    of: EventField


@dataclass(frozen=True, kw_only=True, slots=True)
class UniqueCount(Node):
    of: EventField


Reducer: TypeAlias = Count | Sum | Avg | Min | Max | Mode | First | Last | Unique | UniqueCount


@dataclass(frozen=True, kw_only=True, slots=True)
class Aggregate(Node):
    stream: Stream
    reducer: Reducer


Value: TypeAlias = Aggregate | TraitRef | PropertyRef | ContextRef | LiteralValue | EntityRef


class Comparator(StrEnum):
    """The name of each member is the name of its function in the language."""

    EQUALS = "equals"
    DIFFERS = "differs"
    GREATER_THAN = "greater_than"
    AT_LEAST = "at_least"
    LESS_THAN = "less_than"
    AT_MOST = "at_most"
    ABSENT = "absent"
    EXISTS = "exists"
    CONTAINS = "contains"
    OMITS = "omits"
    STARTS_WITH = "starts_with"
    ENDS_WITH = "ends_with"
    ONE_OF = "one_of"
    NONE_OF = "none_of"
    BEFORE_DATE = "before_date"
    AFTER_DATE = "after_date"
    WITHIN_LAST = "within_last"
    WITHIN_NEXT = "within_next"
    BEFORE_LAST = "before_last"
    AFTER_NEXT = "after_next"


RELATIVE_TO_NOW = frozenset(
    {Comparator.WITHIN_LAST, Comparator.WITHIN_NEXT, Comparator.BEFORE_LAST, Comparator.AFTER_NEXT}
)
"""Comparators whose one argument is a Duration, and whose answer changes as time goes by."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison(Node):
    left: Value
    comparator: Comparator
    arguments: tuple[Scalar | Duration, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class And(Node):
    operands: tuple[Boolean, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Or(Node):
    operands: tuple[Boolean, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Not(Node):
    operand: Boolean


@dataclass(frozen=True, kw_only=True, slots=True)
class AnyUser(Node):
    """Of an account: true for at least one of its users."""

    operand: Boolean


@dataclass(frozen=True, kw_only=True, slots=True)
class AllUsers(Node):
    """Of an account: true for every one of its users."""

    operand: Boolean


Boolean: TypeAlias = And | Or | Not | AnyUser | AllUsers | Comparison


@dataclass(frozen=True, kw_only=True, slots=True)
class SqlRows(Node):
    """What an SQL trait is: the rows of a statement, one a person; its value is an object of its columns.

    `columns` are those besides the one that says who it is, as the database described them; empty in a file. `gone` had
    earlier versions: they are told as null.
    """

    sql: str
    columns: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class OfAccounts(Node):
    """What a definition asks of accounts: a condition, or a value. It is told to their users.

    Events are those of any of an account's users, as one stream; inside ANY and ALL, those of one user.
    """

    of: Boolean | Aggregate | TraitRef


Definition: TypeAlias = Boolean | Aggregate | TraitRef | SqlRows | OfAccounts
"""A Boolean for an audience; an Aggregate, a TraitRef or the rows of an SQL statement for a computed trait; or one of
the first three, asked of accounts."""
