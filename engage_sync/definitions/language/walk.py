"""Questions about a tree: its nodes, the events and the traits it reads. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

from engage_sync.definitions.language import tree


def walk(node: tree.Node) -> Iterator[tree.Node]:
    """The node and every node below it, in the order of the text, parents first."""
    yield node
    for child in children(node):
        yield from walk(child)


def children(node: tree.Node) -> list[tree.Node]:
    """The nodes right below, in the order of the text."""
    found: list[tree.Node] = []
    for field in fields(node):
        below = getattr(node, field.name)
        found += [each for each in (below if isinstance(below, tuple) else (below,)) if isinstance(each, tree.Node)]
    return found


def event_names(node: tree.Node) -> set[str]:
    """The names of all events that can change this node's value."""
    return {found.event for found in walk(node) if isinstance(found, tree.Stream)}


def references(node: tree.Node) -> set[str]:
    """The first path elements of all trait() below: names of traits, or keys of other definitions."""
    return {found.path[0] for found in walk(node) if isinstance(found, tree.TraitRef)}
