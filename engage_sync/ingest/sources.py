"""Sources: where calls come from. Writes `sources`; a source once known is never removed, as its calls refer to it."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, text

_KNOWN = text("SELECT slug, id FROM sources WHERE slug = ANY(:slugs)")
# In order, so that two processes that start at once wait for each other instead of deadlocking.
_ADD = text(
    """
    INSERT INTO sources (slug)
    SELECT slug FROM unnest(CAST(:slugs AS text[])) AS wanted (slug) ORDER BY slug
    ON CONFLICT (slug) DO NOTHING
    """
)


def ensure_sources(connection: Connection, slugs: Iterable[str]) -> dict[str, int]:
    """The id of each slug, new ones made."""
    wanted = sorted(set(slugs))
    known = _read(connection, wanted)
    if len(known) < len(wanted):
        connection.execute(_ADD, {"slugs": [slug for slug in wanted if slug not in known]})
        known = _read(connection, wanted)
    return known


def _read(connection: Connection, slugs: list[str]) -> dict[str, int]:
    return {row.slug: row.id for row in connection.execute(_KNOWN, {"slugs": slugs})}
