"""The order in which definitions are computed: what a definition refers to comes before it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

from engage_sync.definitions import language
from engage_sync.definitions.model import DefinitionSpec


def dependencies(definitions: Sequence[DefinitionSpec]) -> dict[str, set[str]]:
    """For each key the keys of the definitions that it refers to; other traits are no definitions and left out."""
    keys = {definition.key for definition in definitions}
    return {definition.key: language.references(definition.tree) & keys for definition in definitions}


def in_order(definitions: Sequence[DefinitionSpec]) -> list[DefinitionSpec]:
    """Dependencies first, and otherwise in the order given. Of a cycle, the first given comes first."""
    by_key = {definition.key: definition for definition in definitions}
    needs = dependencies(definitions)
    ordered: dict[str, DefinitionSpec] = {}
    for definition in definitions:
        for key in _after_its_needs(definition.key, needs, ordered.keys()):
            ordered[key] = by_key[key]
    return list(ordered.values())


def find_cycles(needs: Mapping[str, AbstractSet[str]]) -> list[list[str]]:
    """Each cycle once, as its keys in the order of reference, beginning at its alphabetically first key.

    Of cycles that share a definition one is told; the others show when it is gone.
    """
    cycles: list[list[str]] = []
    done: set[str] = set()
    for start in sorted(needs):
        path: list[str] = []
        waiting = [(start, iter(sorted(needs[start])))] if start not in done else []
        path.extend(key for key, _ in waiting)
        while waiting:
            key, following = waiting[-1]
            needed = next(following, None)
            if needed is None:
                waiting.pop()
                path.pop()
                done.add(key)
            elif needed in path:
                cycles.append(_from_first(path[path.index(needed) :]))
            elif needed not in done:
                waiting.append((needed, iter(sorted(needs[needed]))))
                path.append(needed)
    return cycles


def _after_its_needs(start: str, needs: Mapping[str, AbstractSet[str]], done: AbstractSet[str]) -> list[str]:
    found: list[str] = []
    seen = set(done)
    waiting = [(start, False)]
    while waiting:
        key, needs_are_done = waiting.pop()
        if needs_are_done:
            found.append(key)
        elif key not in seen:
            seen.add(key)
            waiting.append((key, True))
            waiting.extend((needed, False) for needed in sorted(needs[key], reverse=True))
    return found


def _from_first(cycle: list[str]) -> list[str]:
    first = cycle.index(min(cycle))
    return cycle[first:] + cycle[:first]
