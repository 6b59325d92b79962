"""How much each source sends, and how often each event, and whether it is less than usual.

Writes `volumes` and `event_volumes`, in the transaction that resolves. Live calls are counted by the minute in which
they came, events by quarters of an hour; imported files are history and aren't. What is usual at this time of day, the
last week says: without one, nothing is called silent. Source of the rules: docs/decisions/0020-guards.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import blake2b

from sqlalchemy import Connection, text

from engage_sync.database import pipeline
from engage_sync.database.pipeline import Query, Rows
from engage_sync.ingest.inbox import InboxRow

# A source is silent below this share of what is usual.
_LOST = 0.2
# Below so many usual calls, chance alone may leave a source silent.
_FEWEST = 100
# An event's silence means something only where it usually comes in so many of the stretches, not all at once.
_STEADY = 0.5
_STRETCH = timedelta(minutes=15)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
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
_COUNT_EVENTS = text(
    """
    INSERT INTO event_volumes (source_id, event, stretch, calls)
    SELECT source_id, event, stretch, calls
    FROM unnest(CAST(:sources AS smallint[]), CAST(:events AS bigint[]), CAST(:stretches AS timestamptz[]),
                CAST(:calls AS bigint[])) AS counted (source_id, event, stretch, calls)
    ORDER BY source_id, event, stretch
    ON CONFLICT (source_id, event, stretch) DO UPDATE SET calls = event_volumes.calls + excluded.calls
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
# Those of the span, and of the same hours on the days before, as far as they are known, the last one first.
_HEARD_OF = text(
    """
    SELECT sources.id, sources.slug, wanted.name, known.days, counted.calls, counted.stretches
    FROM sources
    CROSS JOIN unnest(CAST(:names AS text[]), CAST(:events AS bigint[])) AS wanted (name, event)
    CROSS JOIN LATERAL (
      SELECT greatest(0, floor(extract(epoch FROM CAST(:start AS timestamptz) - min(stretch)) / 86400))::integer AS days
      FROM event_volumes WHERE source_id = sources.id AND event = wanted.event
    ) AS known
    CROSS JOIN LATERAL (
      SELECT array_agg(day.calls ORDER BY past.ago) AS calls, array_agg(day.stretches ORDER BY past.ago) AS stretches
      FROM generate_series(0, least(known.days, :days)) AS past (ago)
      CROSS JOIN LATERAL (
        SELECT coalesce(sum(calls), 0)::bigint AS calls, count(*) AS stretches
        FROM event_volumes
        WHERE source_id = sources.id AND event = wanted.event
          AND stretch >= CAST(:start AS timestamptz) - past.ago * interval '24 hours'
          AND stretch < CAST(:end AS timestamptz) - past.ago * interval '24 hours'
      ) AS day
    ) AS counted
    WHERE sources.id = ANY(CAST(:sources AS smallint[]))
    ORDER BY sources.slug, wanted.name
    """
)
_CLEAN = text("DELETE FROM volumes WHERE minute < clock_timestamp() - CAST(:kept AS interval)")
_CLEAN_EVENTS = text("DELETE FROM event_volumes WHERE stretch < clock_timestamp() - CAST(:kept AS interval)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Volume:
    """What a source sent in the `span` before an instant, and what is usual at this time of day; None: not known.

    `event`: only calls of this event are counted; of a source's calls as a whole, `last_minute` is when the last came.
    """

    source_id: int
    slug: str
    span: timedelta
    heard: int
    usual: int | None
    event: str | None = None
    last_minute: datetime | None = None

    @property
    def is_silent(self) -> bool:
        return self.usual is not None and self.is_below(self.usual)

    def is_below(self, usual: int) -> bool:
        """Whether it sent less than a fifth of that."""
        return self.heard < _LOST * usual


def counting(rows: Sequence[InboxRow]) -> Query[None]:
    """Counts calls that are resolved, by source."""
    counted = Counter((row.source_id, row.received_at.replace(second=0, microsecond=0)) for row in rows)
    given = {
        "sources": [source for source, _ in counted],
        "minutes": [minute for _, minute in counted],
        "calls": list(counted.values()),
    }
    return Query(_COUNT, given, pipeline.nothing)


def counting_events(events: Iterable[tuple[int, str, datetime]]) -> Query[None]:
    """Counts events of calls that are resolved: the source of each, its name, and when it came."""
    counted = Counter((source, name, _stretch(received_at)) for source, name, received_at in events)
    given = {
        "sources": [source for source, _, _ in counted],
        "events": [_hashed(name) for _, name, _ in counted],
        "stretches": [stretch for _, _, stretch in counted],
        "calls": list(counted.values()),
    }
    return Query(_COUNT_EVENTS, given, pipeline.nothing)


def hearing(sources: Collection[int], span: timedelta, at: datetime) -> Query[list[Volume]]:
    """Asks what these sources sent in the whole minutes of the span before an instant."""

    def read(rows: Rows) -> list[Volume]:
        return [
            Volume(
                source_id=row.id,
                slug=row.slug,
                span=span,
                heard=row.heard,
                usual=usual(row.before, row.days, row.heard),
                last_minute=row.last_minute,
            )
            for row in rows
        ]

    end = at.replace(second=0, microsecond=0)
    given = {"sources": sorted(sources), "start": end - span, "end": end, "days": _DAYS}
    return Query(_HEARD, given, read)


def hearing_of(sources: Collection[int], names: Collection[str], span: timedelta, at: datetime) -> Query[list[Volume]]:
    """Asks how often these sources sent each of these events in the whole stretches of the span before an instant."""

    def read(rows: Rows) -> list[Volume]:
        return [
            Volume(
                source_id=row.id,
                slug=row.slug,
                event=row.name,
                span=span,
                heard=row.calls[0],
                usual=_usual_of(row.calls, row.stretches, row.days, span),
            )
            for row in rows
        ]

    end = _stretch(at)
    ordered = sorted(names)
    given = {
        "sources": sorted(sources),
        "names": ordered,
        "events": [_hashed(name) for name in ordered],
        "start": end - max(span, _STRETCH),
        "end": end,
        "days": _DAYS,
    }
    return Query(_HEARD_OF, given, read)


def usual(before: Sequence[int], days: int, heard: int) -> int | None:
    """What is usual, by what came at the same time on the days before (the last one first), of which `days` are known.

    As long as there is less than a week, only what is silent altogether is compared with it. None: too little to tell.
    """
    if days < 1 or (days < _DAYS and heard):
        return None
    found = _ordinary(before, days)
    return found if found >= _FEWEST else None


def _usual_of(calls: Sequence[int], stretches: Sequence[int], days: int, span: timedelta) -> int | None:
    """What is usual of an event, by what came in the span and on the days before; None also where it isn't steady."""
    found = usual(calls[1:], days, calls[0])
    return found if found is not None and is_steady(stretches[1:], days, span) else None


def is_steady(before: Sequence[int], days: int, span: timedelta) -> bool:
    """Whether an event usually comes throughout the span, by in how many stretches it came on the days before."""
    return _ordinary(before, days) >= _STEADY * max(1, span // _STRETCH)


def clean(connection: Connection) -> int:
    """Remove what nothing is compared with any more; says how many rows."""
    return sum(connection.execute(statement, {"kept": _KEPT}).rowcount for statement in (_CLEAN, _CLEAN_EVENTS))


def _ordinary(before: Sequence[int], days: int) -> int:
    """The second lowest of a week: one bad day, and a weekend, make nothing unusual. Of less than that, the lowest."""
    return sorted(before)[1] if days >= _DAYS else min(before[:days])


def _stretch(instant: datetime) -> datetime:
    return instant - (instant - _EPOCH) % _STRETCH


# Counted are the same names again and again.
@lru_cache(maxsize=10_000)
def _hashed(name: str) -> int:
    """By which an event is counted, always the same one: it stands in the database."""
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), signed=True)
