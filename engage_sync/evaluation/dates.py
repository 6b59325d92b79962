"""Comparisons of dates with now: which values a definition compares, and how far from a value its edges lie. Pure.

Rules: docs/decisions/0011-dates-compared-with-now.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from engage_sync.definitions.language import tree
from engage_sync.definitions.language.tree import Comparator
from engage_sync.definitions.language.walk import children, walk
from engage_sync.evaluation import operands

_TICK = timedelta(microseconds=1)
_DAY = timedelta(days=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Dated:
    """A value that is compared with now; `event` is the name of the event that it lies in, None for a trait."""

    event: str | None
    value: tree.TraitRef | tree.EventField
    comparator: Comparator
    duration: tree.Duration


def dated(definition: tree.Node) -> list[Dated]:
    """All values of people and events that a definition compares with now."""
    return list(dict.fromkeys(_dated(definition, ())))


def fixed(definition: tree.Node) -> list[datetime]:
    """The edges of literals that a definition compares with now: they concern everybody at once."""
    found: list[datetime] = []
    for node in walk(definition):
        if isinstance(node, tree.Comparison) and node.comparator in tree.RELATIVE_TO_NOW:
            at = operands.read_instant(node.left.value) if isinstance(node.left, tree.LiteralValue) else None
            if at is not None:
                found.extend(_edges(at, node.comparator, _duration(node)))
    return found


def _edges(at: datetime, comparator: Comparator, duration: tree.Duration) -> list[datetime]:
    start = at.astimezone(UTC)
    if duration.in_calendar_days:
        start = start.replace(hour=0, minute=0, second=0, microsecond=0)
    return [start + offset for offset in offsets(comparator, duration)]


def offsets(comparator: Comparator, duration: tree.Duration) -> list[timedelta]:
    """How far from the value its edges lie: from its midnight in calendar days, else from its instant.

    An edge is the first instant at which the answer may be another one: where the end itself still counts, just after.
    """
    span, after = duration.delta, _DAY if duration.in_calendar_days else _TICK
    match comparator:
        case Comparator.WITHIN_LAST:
            return [timedelta(0), span + after]
        case Comparator.WITHIN_NEXT:
            return [-span, after]
        case Comparator.BEFORE_LAST:
            return [span]
        case _:
            return [-span + after]


def _dated(node: tree.Node, around: tuple[str, ...]) -> Iterator[Dated]:
    """`around` are the names of the events that enclose the node, the innermost first."""
    if isinstance(node, tree.Comparison) and node.comparator in tree.RELATIVE_TO_NOW:
        yield from _of_value(node.left, node.comparator, _duration(node), around)
    inside = (node.event, *around) if isinstance(node, tree.Stream) else around
    for child in children(node):
        yield from _dated(child, inside)


def _of_value(
    value: tree.Value, comparator: Comparator, duration: tree.Duration, around: tuple[str, ...]
) -> Iterator[Dated]:
    match value:
        case tree.TraitRef():
            yield Dated(event=None, value=value, comparator=comparator, duration=duration)
        case tree.PropertyRef() | tree.ContextRef():
            owner = around[1] if isinstance(value, tree.PropertyRef) and value.parent else around[0]
            yield Dated(event=owner, value=value, comparator=comparator, duration=duration)
        case tree.Aggregate(stream=stream, reducer=reducer) if not isinstance(reducer, tree.Count):
            yield from _of_value(reducer.of, comparator, duration, (stream.event, *around))
        case _:
            return


def _duration(comparison: tree.Comparison) -> tree.Duration:
    duration = comparison.arguments[0]
    assert isinstance(duration, tree.Duration), "the type checker lets only a window stand here"
    return duration
