"""Which parts of a definition time can change but once for a person, or an account: those can be searched by halves.

Pure.

Of a stream whose windows are all `within` and of which no event lies in the future, events only leave. So counts only
fall, a maximum too, and the last value stays until nothing is left.
"""

from __future__ import annotations

from collections.abc import Collection

from engage_sync.definitions.language import tree
from engage_sync.definitions.language.tree import Comparator
from engage_sync.definitions.language.walk import walk
from engage_sync.evaluation import funnels, presence, windows

_ORDERING = frozenset({Comparator.GREATER_THAN, Comparator.AT_LEAST, Comparator.LESS_THAN, Comparator.AT_MOST})
_PRESENCE = frozenset({Comparator.EXISTS, Comparator.ABSENT})
_ABOVE = frozenset({Comparator.GREATER_THAN, Comparator.AT_LEAST})
_BELOW = frozenset({Comparator.LESS_THAN, Comparator.AT_MOST})


def is_one_way(node: tree.Node, coming: Collection[str]) -> bool:
    """Whether the comparison or value, once it has changed by time alone, never is again what it was.

    `coming` are the names of events of which some lie in the future. Of a sum this holds if it adds nothing negative,
    which only the data knows (summed).
    """
    match node:
        case tree.Aggregate():
            lasting = tree.Count | tree.UniqueCount | tree.Unique | tree.Sum | tree.Min | tree.Max | tree.Last
            return isinstance(node.reducer, lasting) and _only_loses(node.stream, coming)
        case tree.Comparison(left=tree.Aggregate() as left):
            return _only_loses(left.stream, coming) and _is_step(node, left.reducer)
        case tree.AnyUser(operand=tree.Comparison() as each) | tree.AllUsers(operand=tree.Comparison() as each):
            # Which way it changes is the same for all users.
            return is_one_way(each, coming)
        case _:
            return False


def summed(node: tree.Node) -> set[tuple[str, tree.EventField]]:
    """What sums below a node add up: (name of the events, property)."""
    return {
        (found.stream.event, found.reducer.of)
        for found in walk(node)
        if isinstance(found, tree.Aggregate) and isinstance(found.reducer, tree.Sum)
    }


def _is_step(comparison: tree.Comparison, reducer: tree.Reducer) -> bool:
    comparator = comparison.comparator
    if comparator in _PRESENCE or presence.existence(comparison) is not None:
        return True
    match reducer:
        case tree.Count() | tree.UniqueCount():
            return comparator in _ORDERING
        case tree.Sum() | tree.Max(as_string=False):
            return comparator in _ABOVE
        case tree.Min(as_string=False):
            return comparator in _BELOW
        case _:
            return False


def _only_loses(stream: tree.Stream, coming: Collection[str]) -> bool:
    compares_with_now = any(
        isinstance(node, tree.Comparison) and node.comparator in tree.RELATIVE_TO_NOW for node in walk(stream)
    )
    return (
        stream.event not in coming
        and windows.ages(stream).youngest.total_seconds() == 0
        and not any(funnels.inside(stream))
        and not compares_with_now
    )
