"""The events that a query looks at, and the values inside them: as the table's columns, or read once beforehand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    DateTime,
    FromClause,
    bindparam,
    case,
    cast,
    func,
    literal,
    literal_column,
    select,
    true,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import JSONB

from engage_sync.definitions.language import tree
from engage_sync.definitions.language.walk import children
from engage_sync.evaluation.operands import Condition
from engage_sync.evaluation.windows import Ages

AS_OF = bindparam("as_of", type_=DateTime(timezone=True))

# Which document a value lies in, and the path in there up to the first `$`.
Place = tuple[str, tuple[str, ...]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """The events at hand: an alias of the table, or what was read of it once (`fields`). `key`: whose they are."""

    rows: Any
    fields: Mapping[Place, ColumnElement[Any]] | None = None
    key: str = "profile_id"

    @property
    def c(self) -> Any:
        return self.rows.c

    @property
    def subject(self) -> ColumnElement[int]:
        """The person, or the account, whose event it is."""
        found: ColumnElement[int] = self.rows.c[self.key]
        return found

    def read(self, reference: tree.EventField) -> ColumnElement[Any]:
        """The value that a reference finds, up to the first `$` of its path."""
        document, path = place(reference)
        if self.fields is not None:
            return self.fields[document, path]
        return walk(self.rows.c[document], path)


def read_once(event: Event, base: Sequence[Condition], places: Sequence[Place]) -> Event:
    """Those events with what is asked of each, walked to once: a typed reading mentions its value several times.

    OFFSET 0 keeps the planner from putting the walk back to where the value is mentioned; whole documents that are
    carried into a sort or a hash cost more than the evaluation itself.
    """
    read = [walk(event.c[document], path).label(f"field_{number}") for number, (document, path) in enumerate(places)]
    kept = [event.subject, event.c.timestamp, event.c.id, event.c.source_id]
    once = select(*kept, *read).where(*base).offset(literal_column("0")).subquery("read")
    fields = {found: once.c[f"field_{number}"] for number, found in enumerate(places)}
    return Event(rows=once, fields=fields, key=event.key)


def place(reference: tree.EventField) -> Place:
    """Where a reference's value lies, up to the first `$`."""
    path = reference.path[: reference.path.index("$")] if "$" in reference.path else reference.path
    return ("properties" if isinstance(reference, tree.PropertyRef) else "context"), path


def references_to(node: tree.Node, depth: int = 0) -> list[tree.EventField]:
    """What is asked of the events of a stream that encloses `node`, by itself and as the parent of those inside it.

    `depth` counts the streams between: 0, the stream's own events are at hand; 1, they are the parent's.
    """
    match node:
        case tree.PropertyRef(parent=parent):
            return [node] if (depth == 1) is parent and depth <= 1 else []
        case tree.ContextRef():
            return [node] if depth == 0 else []
        case tree.Aggregate():
            return [found for child in children(node) for found in references_to(child, depth + 1)]
        case _:
            return [found for child in children(node) for found in references_to(child, depth)]


def within(event: Event, ages: Ages, since: datetime | None = None) -> list[Condition]:
    """What a window before as_of asks of an event. `since`: nothing before this instant counts."""
    latest = AS_OF if not ages.youngest else AS_OF - literal(ages.youngest)
    conditions: list[Condition] = [event.c.timestamp <= latest]
    if ages.oldest is not None:
        conditions.append(event.c.timestamp >= AS_OF - literal(ages.oldest))
    if since is not None:
        conditions.append(event.c.timestamp >= literal(since, DateTime(timezone=True)))
    return conditions


def after(child: Event, parent: Event, window: tree.Within | tree.Between) -> list[Condition]:
    """What a window after a parent asks of an event."""
    if isinstance(window, tree.Within):
        return [child.c.timestamp <= parent.c.timestamp + literal(window.duration.delta)]
    return [
        child.c.timestamp >= parent.c.timestamp + literal(window.nearest.delta),
        child.c.timestamp <= parent.c.timestamp + literal(window.farthest.delta),
    ]


def walk(document: ColumnElement[Any], path: Sequence[str]) -> ColumnElement[Any]:
    """Into nested objects, up to the first `$`. Step by step, as `#>` would take '0' for a place in an array."""
    for step in path[: path.index("$")] if "$" in path else path:
        document = document.op("->", return_type=JSONB())(literal(step))
    return document


def each(current: ColumnElement[Any], path: Sequence[str], name: str = "each") -> FromClause:
    """All values that a path with `$` finds, with their place: (value, place). Beside anything but an array: none.

    `current` is what the path finds before its first `$`.
    """
    rows: FromClause | None = None
    places: list[ColumnElement[Any]] = []
    rest = list(path[path.index("$") :])
    while rest and rest[0] == "$":
        array = case((func.jsonb_typeof(current) == "array", current), else_=cast(literal("[]"), JSONB))
        elements = (
            func.jsonb_array_elements(array)
            .table_valued("value", with_ordinality="place", name=f"item_{len(places)}")
            .render_derived()
            .lateral()
        )
        rows = elements if rows is None else rows.join(elements, true())
        places.append(elements.c.place)
        step = rest[1:]
        following = step.index("$") if "$" in step else len(step)
        current = walk(cast(elements.c.value, JSONB), step[:following])
        rest = step[following:]
    assert rows is not None
    return select(current.label("value"), postgresql.array(places).label("place")).select_from(rows).lateral(name)
