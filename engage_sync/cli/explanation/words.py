"""How values, instants and people are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

INDENT = "  "
_LONGEST_VALUE = 80


def enumerated(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def plural(number: int, one: str, many: str) -> str:
    return one if number == 1 else many


def value(given: Any) -> str:
    """A value as JSON, shortened."""
    made = orjson.dumps(given, default=str).decode()
    return made if len(made) <= _LONGEST_VALUE else made[:_LONGEST_VALUE] + "…"


def instant(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def edge(at: datetime) -> str:
    """With fractions of a second where there are any: an edge may lie a microsecond behind."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f UTC") if at.microsecond else instant(at)


def person(who: Mapping[str, Any]) -> str:
    """What somebody is known by."""
    if who["user_id"] is not None:
        return f"user_id {who['user_id']}"
    return f"email {who['emails'][0]}" if who["emails"] else str(who["profile_id"])


def becoming(new: Any) -> str:
    """What a trait's value becomes."""
    return "no value" if new is None else f"becomes {value(new)}"


def change(found: Mapping[str, Any], becomes: str) -> str:
    """When something changes by itself, and into what."""
    if found["at"] is not None:
        others = found["because"]
        because = f", as {enumerated(others)} {plural(len(others), 'changes', 'change')} then" if others else ""
        return f"Changes by itself at {edge(found['at'])}: {becomes}{because}."
    if not found["is_complete"]:
        return (
            f"Doesn't change by itself until {instant(found['until'])};"
            f" {found['instants']:,} instants looked at, and there are more."
        )
    return "Never changes by itself."
