"""The instants at which a stretch of the past is looked at: its start, UTC boundaries in between, its end. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum

from engage_sync import errors

# A row each: more than anybody reads, and as many as a chart can show.
MOST = 1_000


class Step(StrEnum):
    """Hours and days begin as the clock of UTC has it, weeks on Mondays."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"


_LENGTHS = {Step.HOUR: timedelta(hours=1), Step.DAY: timedelta(days=1), Step.WEEK: timedelta(weeks=1)}


def instants(start: datetime, end: datetime, step: Step) -> list[datetime]:
    """The start, every boundary after it and before the end, and the end; aware, in UTC.

    Raises errors.UsageError where the end is before the start, and where there are more than MOST.
    """
    start, end = start.astimezone(UTC), end.astimezone(UTC)
    if end < start:
        raise errors.UsageError(f"--to {end.isoformat()} is before --from {start.isoformat()}: swap them.")
    length = _LENGTHS[step]
    boundary = _begin(start, step) + length
    count = 1 + (end > start) + max(0, -(-(end - boundary) // length))
    if count > MOST:
        raise errors.UsageError(
            f"From {start.isoformat()} to {end.isoformat()} there are {count:,} instants, one every {step}; at most"
            f" {MOST:,} are computed. Choose a larger --step or a shorter range."
        )
    found = [start]
    while boundary < end:
        found.append(boundary)
        boundary += length
    return [*found, end] if end > start else found


def _begin(at: datetime, step: Step) -> datetime:
    """The last boundary at or before an instant."""
    hour = at.replace(minute=0, second=0, microsecond=0)
    if step is Step.HOUR:
        return hour
    midnight = hour.replace(hour=0)
    return midnight if step is Step.DAY else midnight - timedelta(days=midnight.weekday())
