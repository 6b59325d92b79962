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

_SHOWN: Final = 200  # characters of a path or name in a reason
_LONG_MIN: Final = -(2**63)
_LONG_MAX: Final = 2**63 - 1
# Python refuses to write out integers of thousands of digits; no identifier has that many.
_TEXT_MAX: Final = 10**100
_INTEGER: Final = re.compile(r"[+-]?\d{1,18}", re.ASCII)
_NUMBER: Final = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,4})?", re.ASCII)


def data_fields(fields: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A copy with every date converted, at every depth.

    `where` is its place in the call. Unsendable names the first field that Iterable can't keep as it stands.
    """
    try:
        return _object(fields, 0)
    except _UnfitError:
        # Looked up anew, as carrying every path along would cost each call what only a refused one needs.
        unfit = _first_unfit(fields, where, 0)
        assert unfit is not None
        reason, path = unfit
        raise Unsendable(reason, path if len(path) <= _SHOWN else f"{path[:_SHOWN]}…") from None


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


class _UnfitError(Exception):
    """Somewhere in there is a name or value that can't be sent."""


def _object(fields: Mapping[str, Any], depth: int) -> dict[str, Any]:
    copied = {name: _value(value, depth + 1) for name, value in fields.items()}
    if "." in "".join(copied):
        raise _UnfitError
    return copied


def _value(value: Any, depth: int) -> Any:
    kind = type(value)
    if kind is str:
        return iterable_date(value) if may_be_date(value) else value
    if kind is int:
        # Iterable's widest integer is a long; what is larger can only be a double.
        return value if _LONG_MIN <= value <= _LONG_MAX else _double(value)
    if kind is dict or kind is list:
        if depth >= MAX_DEPTH:
            raise _UnfitError
        return _object(value, depth) if kind is dict else [_value(item, depth + 1) for item in value]
    if kind is float and not math.isfinite(value):
        raise _UnfitError  # null would clear the field
    return value


def _double(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        raise _UnfitError from None


def _first_unfit(value: Any, path: str, depth: int) -> tuple[str, str] | None:
    """Reason and path of the first field that `_value` gives up at."""
    if isinstance(value, Mapping | list):
        if depth >= MAX_DEPTH:
            return f"nested deeper than {MAX_DEPTH} levels", path
        return _first_unfit_within(value, path, depth)
    if type(value) is float and not math.isfinite(value):
        return "a number is not finite", path
    if type(value) is int:
        try:
            float(value)
        except OverflowError:
            return "a number is too large for Iterable", path
    return None


def _first_unfit_within(value: Mapping[str, Any] | list[Any], path: str, depth: int) -> tuple[str, str] | None:
    if isinstance(value, list):
        inner = [(f"{path}[{index}]", item) for index, item in enumerate(value)]
    else:
        inner = [(f"{path}.{name}", item) for name, item in value.items()]
        for name in value:
            if "." in name:
                return f"the name {name[:_SHOWN]!r} has a period, which Iterable reads as a path", f"{path}.{name}"
    return next((unfit for at, item in inner if (unfit := _first_unfit(item, at, depth + 1))), None)
