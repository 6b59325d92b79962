"""Whether time alone can change what a definition says."""

from __future__ import annotations

from collections.abc import Collection

from engage_sync.definitions.language import tree
from engage_sync.definitions.language.walk import walk


def is_lookback(node: tree.Node, lookback_keys: Collection[str] = ()) -> bool:
    """Whether the passing of time alone can change this node's value.

    `lookback_keys` are the keys of definitions that are lookback themselves: what refers to one is one.
    """
    return any(_depends_on_time(found, lookback_keys) for found in walk(node))


def _depends_on_time(node: tree.Node, lookback_keys: Collection[str]) -> bool:
    match node:
        case tree.SqlRows():
            return True  # nothing tells when its tables change: it is read on a schedule
        case tree.Within() | tree.Between():
            return True  # of a parent too: while a funnel's window is open, its answer waits
        case tree.Comparison(comparator=comparator):
            return comparator in tree.RELATIVE_TO_NOW
        case tree.TraitRef(path=path, of_account=False):
            return path[0] in lookback_keys
        case _:
            return False
