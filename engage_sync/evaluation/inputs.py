"""Which inputs a definition follows: whose events leave its windows unanswered when an input falls silent.

Reads `events`.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Connection, text

from engage_sync.database import pipeline
from engage_sync.definitions.language import tree
from engage_sync.definitions.language.walk import walk

# Of an event's name, so many of the newest before the silence say who sends it.
_NEWEST = 1_000
_READS = text(
    """
    SELECT EXISTS (
      SELECT FROM unnest(CAST(:names AS text[])) AS wanted (name)
      CROSS JOIN LATERAL (
        SELECT source_id FROM events
        WHERE events.name = wanted.name AND events.timestamp <= :until ORDER BY events.timestamp DESC LIMIT :newest
      ) AS event
      WHERE event.source_id = :source
    )
    """
)


def windowed_events(definition: tree.Node, without: str | None = None) -> set[str]:
    """The names of events whose absence time turns into a change; `without` those that leave out this source."""
    found = set()
    for node in walk(definition):
        if isinstance(node, tree.Stream) and any(isinstance(each, tree.Within | tree.Between) for each in walk(node)):
            below = [each for each in walk(node) if isinstance(each, tree.Stream)]
            found |= {each.event for each in below if without not in _left_out(each)}
    return found


def follows(connection: Connection, names: Collection[str], source: int, until: datetime) -> bool:
    """Whether some of the newest events of these names, up to an instant, are a source's."""
    given = {"names": sorted(names), "source": source, "until": until, "newest": _NEWEST}
    return bool(names) and bool(pipeline.rows(connection, _READS, given)[0][0])


def _left_out(stream: tree.Stream) -> set[str]:
    return {slug for each in stream.filters if isinstance(each, tree.Sources) for slug in each.exclude}
