"""When a call happened. Pure. Instants are microseconds since 2000-01-01 UTC, as Postgres keeps them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from engage_sync import errors
from engage_sync.database import binary

_FIRST = binary.microseconds(datetime(1970, 1, 1, tzinfo=UTC))
_LAST = binary.microseconds(datetime(2200, 1, 1, tzinfo=UTC))
_UNIX_EPOCH = _FIRST
# From here on a number can't be a Unix time in seconds (the year 5138), so it is one in milliseconds.
_MILLISECONDS_FROM = 1e11


def read(value: Any) -> int | None:
    """An ISO 8601 date or date-time (without a zone: UTC), or a Unix time in seconds or milliseconds; else None."""
    if value.__class__ is str:
        try:
            parsed = datetime.fromisoformat(value)
            return binary.microseconds(parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=UTC))
        except (ValueError, OverflowError):
            return None
    if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e15 and math.isfinite(value):
        return _UNIX_EPOCH + int(value * (1_000 if abs(value) >= _MILLISECONDS_FROM else 1_000_000))
    return None


def happened_live(body: Mapping[str, Any], received: int) -> tuple[int, bool]:
    """When a call that came by HTTP happened, and whether the time of arrival had to stand in for what it said.

    The client's clock is corrected by what it read when it sent: receivedAt − (sentAt − originalTimestamp).
    """
    said = body.get("originalTimestamp")
    if said is None:
        said = body.get("timestamp")
        if said is None:
            return received, False
    original = read(said)
    if original is None:
        return received, True
    sent = body.get("sentAt")
    if sent is not None:
        sent = read(sent)
    return _within_range(original if sent is None else received - (sent - original), received)


def happened_archived(body: Mapping[str, Any], received: int) -> tuple[int, bool]:
    """The same for a row of a file. What it says stands: an archive's sentAt has nothing to do with the import.

    Raises errors.CallInvalid where the timestamp can't be read.
    """
    for name in ("timestamp", "originalTimestamp"):
        said = body.get(name)
        if said is not None:
            happened = read(said)
            if happened is None:
                raise errors.CallInvalid(f"{name}: expected an ISO 8601 date-time or a Unix time")
            return _within_range(happened, received)
    return received, False


def _within_range(happened: int, received: int) -> tuple[int, bool]:
    return (happened, False) if _FIRST <= happened < _LAST else (received, True)
