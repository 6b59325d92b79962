"""Dates on their way to Iterable, and back.

Its data fields know dates only as `yyyy-MM-dd HH:mm:ss ZZ`; any other text becomes a field of type string, for ever.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import Any, Final

# A date, or a date and time of at least hours and minutes, in ISO 8601's extended form. The space instead of "T" is
# RFC 3339's. Hours are held below 24 here, as some Pythons read 24:00 as the next day.
_ISO_8601: Final = re.compile(
    r"\d{4}-\d\d-\d\d(?:[T ](?:[01]\d|2[0-3]):\d\d(?::\d\d(?:[.,]\d+)?)?(Z|[+-]\d\d(?::?\d\d)?)?)?", re.ASCII
)
# What comes back in Iterable's own format.
_ITERABLE: Final = re.compile(r"(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d(?:\.\d+)?) ([+-]\d\d:?\d\d)", re.ASCII)
_DATE_LENGTH: Final = len("2023-02-05")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST: Final = datetime(2200, 1, 1, tzinfo=UTC)


def may_be_date(text: str) -> bool:
    """A cheap look that spares nearly every string the regex."""
    return len(text) >= _DATE_LENGTH and text[4] == "-" and text[7] == "-"


def iterable_date(text: str) -> str:
    """`2023-02-05T20:42:10.123Z` → `2023-02-05 20:42:10 +00:00`; what isn't a date comes back as it was."""
    match = _ISO_8601.fullmatch(text)
    if match is None:
        return text
    try:
        if len(text) == _DATE_LENGTH:
            date.fromisoformat(text)
            return f"{text} 00:00:00 +00:00"
        instant = datetime.fromisoformat(text)
        if instant.tzinfo is not None:
            instant = instant.astimezone(UTC)
    except (ValueError, OverflowError):
        return text
    return f"{instant.replace(microsecond=0, tzinfo=None).isoformat(sep=' ')} +00:00"


def iso_8601(value: Any) -> Any:
    """`2023-02-05 20:42:10 +00:00` → `2023-02-05T20:42:10+00:00`; anything else comes back as it was."""
    match = _ITERABLE.fullmatch(value.strip()) if isinstance(value, str) else None
    return value if match is None else f"{match[1]}T{match[2]}{match[3]}"


def unix_seconds(text: object) -> int | None:
    """Whole seconds since 1970 of an ISO 8601 date-time, without a zone in UTC; None if it isn't one up to 2200."""
    if not isinstance(text, str):
        return None
    try:
        instant = datetime.fromisoformat(text)
        if instant.tzinfo is None:
            instant = instant.replace(tzinfo=UTC)
        if not _EPOCH <= instant < _LATEST:
            return None
    except (ValueError, OverflowError):
        return None
    return int(instant.timestamp())
