"""Values on their way into Iterable's data fields."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final

from engage_sync.destinations.iterable.dates import iterable_date, may_be_date
from engage_sync.destinations.iterable.refusal import Unsendable

# Deeper than any real call, and well below what a JSON writer or Python's stack would give up at.
MAX_DEPTH: Final = 100

_LONG_MIN: Final = -(2**63)
_LONG_MAX: Final = 2**63 - 1
# Python refuses to write out integers of thousands of digits; no identifier has that many.
_TEXT_MAX: Final = 10**100
_INTEGER: Final = re.compile(r"[+-]?\d{1,18}", re.ASCII)
_NUMBER: Final = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,4})?", re.ASCII)


def data_fields(fields: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A copy with every date converted, at every depth. `where` is its place in the call, for what gets refused."""
    return {name: data_value(value, where, 1) for name, value in fields.items()}


def data_value(value: Any, where: str, depth: int = 0) -> Any:
    kind = type(value)
    if kind is str:
        return iterable_date(value) if may_be_date(value) else value
    if kind is int:
        # Iterable's widest integer is a long; what is larger can only be a double.
        return value if _LONG_MIN <= value <= _LONG_MAX else _double(value, where)
    if kind is dict:
        if depth >= MAX_DEPTH:
            raise Unsendable(f"nested deeper than {MAX_DEPTH} levels", where)
        return {name: data_value(item, where, depth + 1) for name, item in value.items()}
    if kind is list:
        if depth >= MAX_DEPTH:
            raise Unsendable(f"nested deeper than {MAX_DEPTH} levels", where)
        return [data_value(item, where, depth + 1) for item in value]
    if kind is float and not math.isfinite(value):
        raise Unsendable("a number is not finite", where)  # null would clear the field
    return value


def number(value: Any) -> int | float | None:
    """A number, or text that reads as one; else None. Booleans aren't numbers."""
    if type(value) is str:
        text = value.strip()
        if _INTEGER.fullmatch(text):
            return int(text)
        value = float(text) if _NUMBER.fullmatch(text) else None
    if type(value) is int:
        return value if _LONG_MIN <= value <= _LONG_MAX else None
    if type(value) is float and math.isfinite(value):
        return value
    return None


def whole_number(value: Any, *, bits: int = 64) -> int | None:
    """As `number`, but only without a fraction, and only if it fits a signed integer of so many bits."""
    found = number(value)
    if found is None or found != int(found):
        return None
    limit = 2 ** (bits - 1)
    return int(found) if -limit <= found < limit else None


def text_of(value: Any) -> str | None:
    """Text, or a number as text ("12" for 12 and 12.0); None for what is neither, and for blank text."""
    if type(value) is str:
        return value if value.strip() else None
    if type(value) is int:
        return str(value) if abs(value) < _TEXT_MAX else None
    if type(value) is float and math.isfinite(value):
        return str(int(value)) if value == int(value) and abs(value) < 1e15 else str(value)
    return None


def _double(value: int, where: str) -> float:
    try:
        return float(value)
    except OverflowError:
        raise Unsendable("a number is too large for Iterable", where) from None
