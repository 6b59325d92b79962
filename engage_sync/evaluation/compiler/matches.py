"""The rows behind an aggregate, of one person or account: which events count, what leaves others out, and what `where`
says of each.

The same conditions as in an evaluation, asked one by one. Parameters beside `as_of`: `subject`, the person or account;
`shown`, how many rows of a listing; and for a stream that follows an event `parent_at` and `parent_id`, which pin it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    DateTime,
    FromClause,
    Select,
    Subquery,
    Text,
    and_,
    bindparam,
    case,
    cast,
    func,
    literal,
    literal_column,
    not_,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import JSONB

from engage_sync.definitions.language import describe, tree
from engage_sync.evaluation import funnels, operands, windows
from engage_sync.evaluation.compiler import events, reducers, types
from engage_sync.evaluation.compiler.conditions import Conditions, Row
from engage_sync.evaluation.compiler.events import AS_OF, Event
from engage_sync.evaluation.compiler.statement import Evaluation, render
from engage_sync.evaluation.compiler.subjects import People, Scope, Subject
from engage_sync.evaluation.operands import Condition, Kind, Operand

_SUBJECT = bindparam("subject", type_=BigInteger)
_SHOWN = bindparam("shown", type_=BigInteger)
_PARENT_AT = bindparam("parent_at", type_=DateTime(timezone=True))
_PARENT_ID = bindparam("parent_id", type_=BigInteger)
# Columns of a listing before those of what is asked.
EVENT_COLUMNS = ("id", "timestamp", "source_id", "message_id", "profile_id", "reason")
_EXAMPLE_LENGTH = 200
_PEOPLE = People(scope=Scope.PROFILES, include_anonymous=True)


class LeftOutBy(StrEnum):
    FUTURE = "future"
    HISTORY = "history"
    WINDOW = "window"
    SOURCES = "sources"
    WHERE = "where"


@dataclass(frozen=True, kw_only=True, slots=True)
class Reason:
    """Why events don't count; `text` is the filter in the query's words. The first of a stream's reasons is the one."""

    by: LeftOutBy
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """One expression of a `where`, and the columns of a listing that hold what it says of an event.

    `said` and `denied`: whether it may be told, or its negation; neither, while a window is open. `value`: of a value.
    `closes_after` the event's timestamp, what follows the event is decided.
    """

    node: tree.Node
    said: int | None = None
    denied: int | None = None
    value: int | None = None
    closes_after: timedelta | None = None
    below: tuple[Asked, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Listing:
    """Rows of events, newest first: EVENT_COLUMNS, then those of `fields` (what the query reads) and `asked`."""

    evaluation: Evaluation
    fields: tuple[tuple[tree.EventField, int], ...]
    asked: tuple[Asked, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Skipped:
    """Three columns (values, skipped, example): of what is read as one type, how much isn't, and the JSON text of one.

    They begin at `column` of the row of counts; of what is several values an event they are a row of their own.
    """

    reference: tree.EventField
    expected: types.Expected
    column: int | None
    evaluation: Evaluation | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Matches:
    """`counts` has one row: how many events count, how many are left out by each of `reasons`, then what is `skipped`.

    `made_by` lists the one event that a first, last, min or max comes from.
    """

    reasons: tuple[Reason, ...]
    counts: Evaluation
    matched: Listing
    left_out: Listing
    made_by: Listing | None
    skipped: tuple[Skipped, ...]


def compile_matches(
    aggregate: tree.Aggregate,
    *,
    catalog: Mapping[str, int],
    since: datetime | None,
    subject: Subject = _PEOPLE,
    after: str | None = None,
) -> Matches:
    """Compile the questions about an aggregate's events; in a funnel, that come `after` an event of that name."""
    conditions = Conditions(catalog, since, subject)
    return _Compiler(aggregate=aggregate, conditions=conditions, subject=subject, after=after).matches()


@dataclass(kw_only=True)
class _Compiler:
    aggregate: tree.Aggregate
    conditions: Conditions
    subject: Subject
    after: str | None

    def matches(self) -> Matches:
        judged = self._judged(once=True)
        counts: list[ColumnElement[Any]] = [func.count().filter(judged.c.reason.is_(None))]
        counts += [func.count().filter(judged.c.reason == number) for number in range(len(self._reasons()))]
        skipped = tuple(self._skipped(judged, counts))
        return Matches(
            reasons=tuple(reason for reason, _ in self._reasons()),
            counts=render(select(*counts).select_from(judged)),
            matched=self._newest(left_out=False),
            left_out=self._newest(left_out=True),
            made_by=self._made_by(),
            skipped=skipped,
        )

    # --- which of them count ------------------------------------------------------------------------------------

    def _judged(self, *, once: bool = False) -> Subquery:
        """The events of that name, each with the number of the first reason that leaves it out, or null.

        `once`: the reason is looked at several times, and shall not be worked out as often. Else the planner may begin
        with the newest events, and stop where enough are found.
        """
        event, parent, base = self._named()
        whens: list[Any] = [
            (not_(operands.known(asked)), literal_column(str(number)))
            for number, (_, asked) in enumerate(self._reasons(event, parent))
        ]
        names = (self.subject.key, "profile_id", "id", "timestamp", "source_id", "message_id", "properties", "context")
        read = [event.c[name] for name in dict.fromkeys(names)]
        reason = case(*whens, else_=None)
        made = select(*read, reason.label("reason")).where(*base)
        return (made.offset(literal_column("0")) if once else made).subquery("judged")

    def _named(self) -> tuple[Event, Event | None, list[Condition]]:
        event = self.subject.events("event", with_call=True)
        base = [event.subject == _SUBJECT, event.c.name == self.aggregate.stream.event]
        if self.after is None:
            return event, None, base
        parent = self._parent()
        base += [*self._pinned(parent), event.c.timestamp > parent.c.timestamp]
        return event, parent, base

    def _parent(self) -> Event:
        return self.subject.events("parent")

    def _pinned(self, parent: Event) -> list[Condition]:
        at = parent.c
        return [parent.subject == _SUBJECT, at.name == self.after, at.timestamp == _PARENT_AT, at.id == _PARENT_ID]

    def _reasons(self, event: Event | None = None, parent: Event | None = None) -> list[tuple[Reason, Condition]]:
        """Why an event may be left out, cheap ones first, each with what it asks of the event."""
        if event is None:
            event, parent, _ = self._named()
        reasons = [(Reason(by=LeftOutBy.FUTURE, text="it lies after the instant"), event.c.timestamp <= AS_OF)]
        if self.conditions.since is not None:
            since = literal(self.conditions.since, DateTime(timezone=True))
            reasons.append((Reason(by=LeftOutBy.HISTORY, text="include_historical_data"), event.c.timestamp >= since))
        given = sorted(self.aggregate.stream.filters, key=_dearness)
        for each in given:
            by, asked = self._filter(each, event, parent)
            reasons.append((Reason(by=by, text=describe(each)), asked))
        return reasons

    def _filter(self, each: tree.Filter, event: Event, parent: Event | None) -> tuple[LeftOutBy, Condition]:
        match each:
            case tree.Where():
                return LeftOutBy.WHERE, self.conditions.filter(each, event, parent)
            case tree.Sources():
                return LeftOutBy.SOURCES, self.conditions.filter(each, event, parent)
            case tree.Within() | tree.Between() if each.of_parent:
                assert parent is not None
                return LeftOutBy.WINDOW, and_(*events.after(event, parent, each))
            case _:
                alone = tree.Stream(event=self.aggregate.stream.event, filters=(each,))
                return LeftOutBy.WINDOW, and_(*events.within(event, windows.ages(alone)))

    # --- listings -----------------------------------------------------------------------------------------------

    def _newest(self, *, left_out: bool) -> Listing:
        judged = self._judged()
        asked = judged.c.reason.is_not(None) if left_out else judged.c.reason.is_(None)
        return self._listing(select(judged).where(asked).order_by(judged.c.timestamp.desc(), judged.c.id.desc()))

    def _listing(self, chosen: Select[Any]) -> Listing:
        """The chosen events, with what is read and asked of each: asked of no more than are shown."""
        rows = chosen.limit(_SHOWN).subquery("chosen")
        event, parent = self._read_of(rows), self._parent() if self.after is not None else None
        columns: list[ColumnElement[Any]] = [rows.c[name] for name in EVENT_COLUMNS]
        fields: list[tuple[tree.EventField, int]] = []
        for reference in self._read():
            fields.append((reference, len(columns)))
            columns.append(event.read(reference))
        row = Row(subject=event.subject, event=event, parent=parent)
        wheres = [each for each in self.aggregate.stream.filters if isinstance(each, tree.Where)]
        asked = tuple(self._asked(each.condition, row, columns) for each in wheres)
        statement = select(*(column.label(f"column_{n}") for n, column in enumerate(columns))).select_from(rows)
        if parent is not None:
            statement = statement.join_from(rows, parent.rows, and_(*self._pinned(parent)))
        ordered = statement.order_by(rows.c.timestamp.desc(), rows.c.id.desc())
        return Listing(evaluation=render(ordered), fields=tuple(fields), asked=asked)

    def _read(self) -> list[tree.EventField]:
        """What the query reads of these events, by itself and as the parents of those that follow."""
        parts = (*self.aggregate.stream.filters, self.aggregate.reducer)
        found = {events.place(each): each for part in parts for each in events.references_to(part)}
        return list(found.values())

    def _asked(self, node: tree.Node, row: Row, columns: list[ColumnElement[Any]]) -> Asked:
        """Adds the columns of an expression and of those below it."""
        match node:
            case tree.And() | tree.Or():
                below = tuple(self._asked(each, row, columns) for each in node.operands)
            case tree.Not():
                below = (self._asked(node.operand, row, columns),)
            case tree.Comparison():
                below = tuple(
                    self._asked(each, row, columns)
                    for each in (node.left, *node.arguments)
                    if not isinstance(each, tree.Duration)
                )
            case _:
                return self._asked_value(node, row, columns)
        said, denied = len(columns), len(columns) + 1
        columns.append(operands.known(self.conditions.condition(node, row)))
        columns.append(operands.known(self.conditions.condition(node, row, negated=True)))
        closes = None
        if isinstance(node, tree.Comparison) and isinstance(node.left, tree.Aggregate):
            closes = funnels.closes_after(node.left.stream)
        return Asked(node=node, said=said, denied=denied, closes_after=closes, below=below)

    def _asked_value(self, node: tree.Node, row: Row, columns: list[ColumnElement[Any]]) -> Asked:
        if isinstance(node, tree.LiteralValue):
            return Asked(node=node)
        operand = self.conditions.operand(node, row)
        value = reducers.json_value(node, operand) if isinstance(node, tree.Aggregate) else operand.expression
        columns.append(cast(value, JSONB))
        return Asked(node=node, value=len(columns) - 1)

    # --- what made the value, and what was skipped --------------------------------------------------------------

    def _made_by(self) -> Listing | None:
        reducer = self.aggregate.reducer
        if not isinstance(reducer, tree.First | tree.Last | tree.Min | tree.Max):
            return None
        judged = self._judged()
        rows, value = self._values(judged, reducer.of)
        if isinstance(reducer, tree.First | tree.Last):
            key: ColumnElement[Any] = value
            usable = operands.present(Operand(kind=Kind.JSON, expression=value))
            by_value = []
        else:
            key = func.engage_text(value, type_=operands.TEXT) if reducer.as_string else func.engage_number(value)
            usable = key.is_not(None)
            by_value = [key.asc() if isinstance(reducer, tree.Min) else key.desc()]
        by_time: Sequence[ColumnElement[Any]] = (judged.c.timestamp, judged.c.id)
        if isinstance(reducer, tree.Last):
            by_time = (judged.c.timestamp.desc(), judged.c.id.desc())
        chosen = select(judged).select_from(rows).where(judged.c.reason.is_(None), usable)
        return self._listing(chosen.order_by(*by_value, *by_time))

    def _skipped(self, judged: Subquery, counts: list[ColumnElement[Any]]) -> list[Skipped]:
        """Adds the columns of what can be counted with the events: they may be many, and are looked at once."""
        found = []
        for reference, expected, of_matched in dict.fromkeys(types.typed(self.aggregate)):
            is_several = "$" in reference.path
            judged_here = self._judged() if is_several else judged
            rows, value = self._values(judged_here, reference)
            present = operands.present(Operand(kind=Kind.JSON, expression=value))
            wrong = and_(present, not_(types.reads_as(value, expected)))
            stage = judged_here.c.reason.is_(None) if of_matched else self._reached_where(judged_here)
            example = func.min(func.left(cast(value, Text), _EXAMPLE_LENGTH))
            columns: list[ColumnElement[Any]] = [
                func.count().filter(and_(stage, present)),
                func.count().filter(and_(stage, wrong)),
                example.filter(and_(stage, wrong)),
            ]
            own = render(select(*columns).select_from(rows)) if is_several else None
            column = None if is_several else len(counts)
            found.append(Skipped(reference=reference, expected=expected, column=column, evaluation=own))
            if not is_several:
                counts += columns
        return found

    def _reached_where(self, judged: Subquery) -> Condition:
        """Those that no window and no source leaves out: what `where` is asked of."""
        firsts = [number for number, (reason, _) in enumerate(self._reasons()) if reason.by is LeftOutBy.WHERE]
        return judged.c.reason.is_(None) | (judged.c.reason >= firsts[0])

    def _read_of(self, rows: Subquery) -> Event:
        return Event(rows=rows, key=self.subject.key)

    def _values(self, judged: Subquery, reference: tree.EventField) -> tuple[FromClause, ColumnElement[Any]]:
        value = self._read_of(judged).read(reference)
        if "$" not in reference.path:
            return judged, value
        each = events.each(value, reference.path)
        return judged.join(each, true()), each.c.value


def _dearness(given: tree.Filter) -> int:
    """Windows first, as they are cheap and say most; what follows an event last."""
    match given:
        case tree.Within() | tree.Between():
            return 0
        case tree.Sources():
            return 1
        case _:
            return 3 if any(funnels.inside(given)) else 2
