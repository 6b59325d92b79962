"""How much each source sends, and whether it is less than usual. Writes `volumes`, in the transaction that resolves.

Live calls are counted by the minute in which they came; imported files are history and aren't. What is usual for a
source at this time of day, its own last week says: without one, nothing is called silent. Source of the rules:
docs/decisions/0020-guards.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, text

from engage_sync.database import pipeline
from engage_sync.database.pipeline import Query
from engage_sync.ingest.inbox import InboxRow

# A source is silent below this share of what is usual.
_LOST = 0.2
# Below so many usual calls, chance alone may leave a source silent.
_FEWEST = 100
_DAYS = 7
_KEPT = timedelta(days=2 * _DAYS + 1)

_COUNT = text(
    """
    INSERT INTO volumes (source_id, minute, calls)
    SELECT source_id, minute, calls
    FROM unnest(CAST(:sources AS smallint[]), CAST(:minutes AS timestamptz[]), CAST(:calls AS bigint[]))
      AS counted (source_id, minute, calls)
    ORDER BY source_id, minute
    ON CONFLICT (source_id, minute) DO UPDATE SET calls = volumes.calls + excluded.calls
    """
)
_HEARD = text(
    """
    SELECT sources.id, sources.slug, heard.calls AS heard, before.calls AS before, heard.last_minute,
           -- Of how many days it is known what came at this time.
           coalesce(floor(extract(epoch FROM CAST(:start AS timestamptz) - heard.first_minute) / 86400), 0)::integer
             AS days
    FROM sources
    CROSS JOIN LATERAL (
      SELECT coalesce(sum(calls) FILTER (WHERE minute >= :start AND minute < :end), 0)::bigint AS calls,
             (SELECT min(minute) FROM volumes WHERE source_id = sources.id) AS first_minute,
             (SELECT max(minute) FROM volumes WHERE source_id = sources.id AND minute < :end) AS last_minute
      FROM volumes WHERE source_id = sources.id AND minute >= :start AND minute < :end
    ) AS heard
    CROSS JOIN LATERAL (
      SELECT array_agg(day.calls ORDER BY day.ago) AS calls
      FROM generate_series(1, :days) AS past (ago)
      CROSS JOIN LATERAL (
        SELECT past.ago, coalesce(sum(volumes.calls), 0)::bigint AS calls
        FROM volumes
        WHERE volumes.source_id = sources.id
          AND volumes.minute >= CAST(:start AS timestamptz) - past.ago * interval '24 hours'
          AND volumes.minute < CAST(:end AS timestamptz) - past.ago * interval '24 hours'
      ) AS day
    ) AS before
    WHERE sources.id = ANY(CAST(:sources AS smallint[]))
    ORDER BY sources.slug
    """
)
_CLEAN = text("DELETE FROM volumes WHERE minute < clock_timestamp() - CAST(:kept AS interval)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Volume:
    """What a source sent in the `span` before an instant, and what is usual at this time of day; None: not known."""

    source_id: int
    slug: str
    span: timedelta
    heard: int
    usual: int | None
    last_minute: datetime | None

    @property
    def is_silent(self) -> bool:
        return self.usual is not None and self.is_below(self.usual)

    def is_below(self, usual: int) -> bool:
        """Whether it sent less than a fifth of that."""
        return self.heard < _LOST * usual


def counting(rows: Sequence[InboxRow]) -> Query[None]:
    """Counts calls that are resolved."""
    counted = Counter((row.source_id, row.received_at.replace(second=0, microsecond=0)) for row in rows)
    given = {
        "sources": [source for source, _ in counted],
        "minutes": [minute for _, minute in counted],
        "calls": list(counted.values()),
    }
    return Query(_COUNT, given, pipeline.nothing)


def heard(connection: Connection, sources: Collection[int], span: timedelta, at: datetime) -> list[Volume]:
    """What these sources sent in the whole minutes of the span before an instant."""
    end = at.replace(second=0, microsecond=0)
    given = {"sources": sorted(sources), "start": end - span, "end": end, "days": _DAYS}
    return [
        Volume(
            source_id=row.id,
            slug=row.slug,
            span=span,
            heard=row.heard,
            usual=usual(row.before, row.days, row.heard),
            last_minute=row.last_minute,
        )
        for row in pipeline.rows(connection, _HEARD, given)
    ]


def usual(before: Sequence[int], days: int, heard: int) -> int | None:
    """What is usual, by what came at the same time on the days before (the last one first), of which `days` are known.

    The second lowest of a week: one bad day, and a weekend, make nothing unusual. As long as there is less than a week,
    the lowest, and only what is silent altogether is compared with it. None: too little to tell.
    """
    if days < 1 or (days < _DAYS and heard):
        return None
    found = sorted(before)[1] if days >= _DAYS else min(before[:days])
    return found if found >= _FEWEST else None


def clean(connection: Connection) -> int:
    """Remove what nothing is compared with any more; says how many rows."""
    return connection.execute(_CLEAN, {"kept": _KEPT}).rowcount
