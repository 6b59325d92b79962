"""What each identity was told last, worked out from what people are and how they can be reached: slow and obvious.

The rules: a person is told as each of their emails, or as their user id where they have no email. Only what differs
from what was told last is told; who was never told anything hears of nothing. An identity that nobody holds any more
is told that there is nothing. A user id that was told for want of an email hears nothing more once there is one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Identity = tuple[str, str]
"""(type, value); the types are 'email' and 'user_id'."""


@dataclass(kw_only=True)
class Told:
    """Of one definition. `nothing` is what is told where there is no membership or value."""

    nothing: Any
    last: dict[Identity, Any] = field(default_factory=dict)

    def tell(self, values: Mapping[str, Any], identities: Mapping[str, set[Identity]]) -> dict[Identity, Any]:
        """What is said now that people are `values` (absent: None) and have these identities. Remembers it."""
        said = {}
        held = {identity: person for person, its in identities.items() for identity in its}
        for identity in sorted({*held, *self.last}):
            person = held.get(identity)
            if person is not None and _is_succeeded(identity, identities[person]):
                self.last.pop(identity, None)
                continue
            value = values.get(person) if person is not None else None
            wanted = self.nothing if value is None else value
            if identity in self.last:
                differs = not same(self.last[identity], wanted)
            else:
                differs = (value is not None and value is not False) or (value is False and self.nothing is not False)
            if differs:
                said[identity] = self.last[identity] = wanted
        return said


def same(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal: true isn't 1, but 1.0 is."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def _is_succeeded(identity: Identity, its: set[Identity]) -> bool:
    return identity[0] == "user_id" and any(kind == "email" for kind, _ in its)
