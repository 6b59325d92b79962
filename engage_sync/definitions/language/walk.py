"""Questions about a tree: its nodes, the events and the traits it reads. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from typing import Any, TypeVar

from engage_sync.definitions.language import tree

AnyNode = TypeVar("AnyNode", bound=tree.Node)
# Asking a dataclass costs more than all else that is done at a node.
_NAMES: dict[type[Any], tuple[str, ...]] = {}


def walk(node: tree.Node) -> Iterator[tree.Node]:
    """The node and every node below it, in the order of the text, parents first."""
    yield node
    for child in children(node):
        yield from walk(child)


def children(node: tree.Node) -> list[tree.Node]:
    """The nodes right below, in the order of the text."""
    found: list[tree.Node] = []
    for name in _names_of_fields(node):
        below = getattr(node, name)
        found += [each for each in (below if isinstance(below, tuple) else (below,)) if isinstance(each, tree.Node)]
    return found


def mapped(
    node: AnyNode,
    change: Callable[[tree.TraitRef], tree.TraitRef],
    unless: tuple[type[tree.Node], ...] = (),
) -> AnyNode:
    """The same tree with each trait() changed, but for those inside the types of `unless`; the very same where nothing
    does.
    """
    if isinstance(node, tree.TraitRef):
        return change(node)  # type: ignore[return-value]
    if isinstance(node, unless):
        return node
    changed: dict[str, Any] = {}
    for name in _names_of_fields(node):
        below = getattr(node, name)
        if isinstance(below, tree.Node):
            made: Any = mapped(below, change, unless)
        elif isinstance(below, tuple):
            made = tuple(mapped(each, change, unless) if isinstance(each, tree.Node) else each for each in below)
        else:
            continue
        if made != below:
            changed[name] = made
    return replace(node, **changed) if changed else node


def event_names(node: tree.Node) -> set[str]:
    """The names of all events that can change this node's value."""
    return {found.event for found in walk(node) if isinstance(found, tree.Stream)}


def references(node: tree.Node) -> set[str]:
    """The first path elements of all trait() of people below: names of traits, or keys of other definitions."""
    return {found.path[0] for found in walk(node) if isinstance(found, tree.TraitRef) and not found.of_account}


def account_traits(node: tree.Node) -> set[str]:
    """The first path elements of all trait() of accounts below."""
    return {found.path[0] for found in walk(node) if isinstance(found, tree.TraitRef) and found.of_account}


def _names_of_fields(node: tree.Node) -> tuple[str, ...]:
    kind: type[Any] = type(node)
    found = _NAMES.get(kind)
    if found is None:
        found = _NAMES[kind] = tuple(field.name for field in fields(node))
    return found
