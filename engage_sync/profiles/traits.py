"""Traits of a batch: what is stored, what the batch makes of it in order, and what differs at the end. Pure.

The newest timestamp wins, and of equal ones the later arrival; where profiles merge, the newer of both values, and of
equally old ones that of the profile which keeps its internal id. A null is stored, and reads as absent.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from engage_sync.profiles.graph import Merged, Node, Written


class Trait(NamedTuple):
    """`timestamp` in microseconds since 2000, `value` as canonical JSON (see facts.canonical)."""

    timestamp: int
    value: bytes


class Row(NamedTuple):
    """A trait to write; `is_new` where its profile has no row of that name yet."""

    node: Node
    name: str
    trait: Trait
    is_new: bool


class Needed(NamedTuple):
    """What must be read before `replay`: single traits, and all traits of profiles that merge."""

    single: set[tuple[int, str]]
    whole: set[int]


def needed(log: Iterable[Merged | Written]) -> Needed:
    single: set[tuple[int, str]] = set()
    whole: set[int] = set()
    for entry in log:
        root = (entry.kept if isinstance(entry, Merged) else entry.node).root()
        if root.lost_ids:
            whole.update(root.lost_ids)
            if root.id is not None:
                whole.add(root.id)
        elif root.id is not None and isinstance(entry, Written):
            single.update((root.id, name) for name in entry.traits)
    return Needed(single, whole)


def replay(log: Iterable[Merged | Written], stored: Mapping[int, Mapping[str, Trait]]) -> list[Row]:
    """The rows that differ from what is stored, in the end. Adds the reason of each value that really changed."""
    current: dict[Node, dict[str, Trait]] = {}
    for entry in log:
        if isinstance(entry, Merged):
            kept = _of(entry.kept, current, stored)
            for lost in entry.lost:
                _take_in(kept, _of(lost, current, stored))
        else:
            _write(_of(entry.node, current, stored), entry)
    return [row for node, traits in current.items() if node.merged_into is None for row in _rows(node, traits, stored)]


def _of(
    node: Node, current: dict[Node, dict[str, Trait]], stored: Mapping[int, Mapping[str, Trait]]
) -> dict[str, Trait]:
    found = current.get(node)
    if found is None:
        found = current[node] = dict(stored.get(node.id, {})) if node.id is not None else {}
    return found


def _take_in(kept: dict[str, Trait], lost: Mapping[str, Trait]) -> None:
    for name, trait in lost.items():
        present = kept.get(name)
        if present is None or trait.timestamp > present.timestamp:
            kept[name] = trait


def _write(traits: dict[str, Trait], written: Written) -> None:
    for name, value in written.traits.items():
        present = traits.get(name)
        if present is None or written.timestamp >= present.timestamp:
            traits[name] = Trait(written.timestamp, value)


def _rows(node: Node, traits: Mapping[str, Trait], stored: Mapping[int, Mapping[str, Trait]]) -> Iterable[Row]:
    before = stored.get(node.id, {}) if node.id is not None else {}
    for name, trait in traits.items():
        present = before.get(name)
        if present is None or not is_same(present.value, trait.value):
            node.reasons.add("trait:" + name)
        if present != trait:
            yield Row(node, name, trait, present is None)


def is_same(before: bytes, after: bytes) -> bool:
    """Whether two values, as canonical JSON, are the same to a definition."""
    # Postgres writes 1e22 out in full, so numbers with a point or an exponent need another look.
    return before == after or (_FRACTION.search(after) is not None and _plain(before) == _plain(after))


_FRACTION = re.compile(rb"[0-9][.eE]")


def _plain(value: bytes) -> Any:
    return json.loads(value, parse_float=_number, parse_int=_number)


def _number(digits: str) -> str:
    # A NUL in front, which no string of ours has: 1 is neither "1" nor true.
    return "\0" + format(Decimal(digits).normalize(), "f")
