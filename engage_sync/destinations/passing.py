"""Calls that are passed on as they are: what any receiver of Segment calls needs of one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from engage_sync.destinations.protocol import Refused

TYPES: Final = ("identify", "track", "page", "screen", "alias", "group")
# Deeper than any real call, and well below what a JSON writer gives up at.
MAX_DEPTH: Final = 100

# What a call of each type is nothing without.
_NEEDED: Final[Mapping[str, tuple[str, ...]]] = {
    "track": ("event",),
    "alias": ("userId", "previousId"),
    "group": ("groupId",),
}
_LONG_MIN: Final = -(2**63)
_LONG_MAX: Final = 2**64 - 1


def checked(call: Mapping[str, Any], *, most_bytes: int) -> dict[str, Any] | Refused:
    """A copy of the call that can be written as JSON, of at most so many bytes; Refused says what is wrong with it.

    The copy shares what it holds with the call: neither may be changed.
    """
    kind = call.get("type")
    if not isinstance(kind, str) or kind not in TYPES:
        return Refused(reason=f"the call's type must be one of {', '.join(TYPES)}", field="type")
    for field in _NEEDED.get(kind, ()):
        if not is_given(call.get(field)):
            return Refused(reason=f"a call of type {kind} needs {field}", field=field)
    for field in ("traits", "properties", "context", "integrations"):
        if call.get(field) is not None and not isinstance(call[field], dict):
            return Refused(reason=f"{field} is not an object", field=field)
    return _sized(dict(call), most_bytes)


def is_given(identifier: Any) -> bool:
    """Whether it is text that isn't blank, or a number."""
    if isinstance(identifier, str):
        return bool(identifier.strip())
    return isinstance(identifier, int | float) and not isinstance(identifier, bool)


def email(call: Mapping[str, Any]) -> str | None:
    """The email of the call's person: in its traits (identify), then in those of its context."""
    context = call.get("context")
    traits = call.get("traits") if call.get("type") == "identify" else None
    for place in (traits, context.get("traits") if isinstance(context, dict) else None):
        found = place.get("email") if isinstance(place, dict) else None
        if isinstance(found, str) and "@" in found:
            return found.strip()
    return None


def _sized(call: dict[str, Any], most_bytes: int) -> dict[str, Any] | Refused:
    try:
        size = _size(call)
    except TypeError:
        # What Python can hold and the writer can't: integers beyond 64 bits, half a surrogate pair, endless nesting.
        try:
            call = _written(call, 0)
            size = _size(call)
        except (TypeError, OverflowError, RecursionError):
            return Refused(reason=f"can't be written as JSON, or is nested deeper than {MAX_DEPTH} levels")
    if size > most_bytes:
        return Refused(reason=f"the call is {size:,} bytes long; at most {most_bytes:,} are taken")
    return call


def _size(call: dict[str, Any]) -> int:
    # In two lists, so that there is still room for what a request wraps around it.
    return len(orjson.dumps([[call]])) - 4


def _written(value: Any, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise RecursionError
    if isinstance(value, dict):
        return {_text(name): _written(item, depth + 1) for name, item in value.items()}
    if isinstance(value, list):
        return [_written(item, depth + 1) for item in value]
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int) and not _LONG_MIN <= value <= _LONG_MAX:
        return float(value)
    return value


def _text(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
