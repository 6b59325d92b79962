"""When what follows an event is decided: as long as a parent's window is open, more events may come. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from engage_sync.definitions.language import tree
from engage_sync.definitions.language.tree import Comparator
from engage_sync.definitions.language.walk import children

_GROWING = frozenset({Comparator.AT_LEAST, Comparator.GREATER_THAN})
_SHRINKING = frozenset({Comparator.LESS_THAN, Comparator.AT_MOST})


def closes_after(stream: tree.Stream) -> timedelta | None:
    """How long after its parent an event's window is decided: its own, and the longest way through those nested below.

    None for a stream without a window of its own: it is judged on what is known.
    """
    own = _window(stream)
    return None if own is None else own + _nested(stream)


def is_final(comparison: tree.Comparison, negated: bool) -> bool:
    """Whether more events can't undo the comparison (or its negation) once it is true."""
    left = comparison.left
    if not isinstance(left, tree.Aggregate):
        return False
    if comparison.comparator is Comparator.EXISTS:
        return not negated
    if not isinstance(left.reducer, tree.Count | tree.UniqueCount):
        return False
    return comparison.comparator in (_SHRINKING if negated else _GROWING)


def inside(node: tree.Node) -> Iterator[tree.Stream]:
    """The streams right inside a stream's `where`, or anything else: not those inside these."""
    for child in children(node):
        if isinstance(child, tree.Stream):
            yield child
        else:
            yield from inside(child)


def _window(stream: tree.Stream) -> timedelta | None:
    ends = [
        each.duration.delta if isinstance(each, tree.Within) else each.farthest.delta
        for each in stream.filters
        if isinstance(each, tree.Within | tree.Between) and each.of_parent
    ]
    return min(ends, default=None)


def _nested(stream: tree.Stream) -> timedelta:
    return max(((_window(child) or timedelta(0)) + _nested(child) for child in inside(stream)), default=timedelta(0))
