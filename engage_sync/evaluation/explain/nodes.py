"""What every node of a query says of itself, whoever is looked at."""

from __future__ import annotations

from typing import Any

from engage_sync.definitions.language import describe, tree

_KINDS: dict[type, str] = {
    tree.And: "and",
    tree.Or: "or",
    tree.Not: "not",
    tree.AnyUser: "any",
    tree.AllUsers: "all",
    tree.Comparison: "comparison",
    tree.Aggregate: "aggregate",
    tree.TraitRef: "trait",
    tree.PropertyRef: "property",
    tree.ContextRef: "context",
    tree.LiteralValue: "literal",
    tree.Duration: "duration",
}


def head(node: Any) -> dict[str, Any]:
    """What every node says of itself."""
    position = {"line": node.position.line, "column": node.position.column}
    return {"kind": _KINDS[type(node)], "text": describe(node), "position": position}


def value_document(node: Any) -> dict[str, Any]:
    """A value that stands in the query, or a length of time."""
    return {**head(node), "value": node.value} if isinstance(node, tree.LiteralValue) else head(node)
