"""The destinations that the database knows, and whether they are paused.

Writes `destinations`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from engage_sync import errors
from engage_sync.database import channels


@dataclass(frozen=True, kw_only=True, slots=True)
class Paused:
    """Nothing is sent to it until somebody resumes it."""

    slug: str
    since: datetime
    reason: str


def ensure(connection: Connection, slugs: Sequence[str]) -> dict[str, int]:
    """Make the destinations known; return the id of each. Ids stay for ever."""
    insert = text(
        """
        INSERT INTO destinations (slug) SELECT DISTINCT unnest(CAST(:slugs AS text[])) AS slug ORDER BY slug
        ON CONFLICT (slug) DO NOTHING
        """
    )
    known = text("SELECT slug, id FROM destinations WHERE slug = ANY(CAST(:slugs AS text[]))")
    found = {row.slug: row.id for row in connection.execute(known, {"slugs": list(slugs)})}
    if missing := [slug for slug in slugs if slug not in found]:
        connection.execute(insert, {"slugs": missing})
        found = {row.slug: row.id for row in connection.execute(known, {"slugs": list(slugs)})}
    return found


def pause(connection: Connection, slug: str, reason: str) -> bool:
    """Send nothing more to it; say whether it was running. Raises errors.NotFound."""
    statement = text(
        """
        UPDATE destinations SET paused_at = clock_timestamp(), paused_reason = :reason
        WHERE slug = :slug AND paused_at IS NULL RETURNING id
        """
    )
    changed = connection.execute(statement, {"slug": slug, "reason": reason}).first() is not None
    return changed or _exists(connection, slug)


def resume(connection: Connection, slug: str) -> bool:
    """Send to it again, and wake the workers; say whether it was paused. Raises errors.NotFound."""
    statement = text(
        """
        UPDATE destinations SET paused_at = NULL, paused_reason = NULL
        WHERE slug = :slug AND paused_at IS NOT NULL RETURNING id
        """
    )
    changed = connection.execute(statement, {"slug": slug}).first() is not None
    if changed:
        channels.notify(connection, channels.OUTBOX)
    return changed or _exists(connection, slug)


def resume_paused_for(connection: Connection, reason: str) -> list[str]:
    """Resume those that were paused for this reason; returns their slugs."""
    slugs = [each.slug for each in paused(connection) if each.reason == reason]
    for slug in slugs:
        resume(connection, slug)
    return slugs


def paused(connection: Connection) -> list[Paused]:
    """The paused destinations, by slug."""
    statement = text(
        "SELECT slug, paused_at, paused_reason FROM destinations WHERE paused_at IS NOT NULL ORDER BY slug"
    )
    return [
        Paused(slug=row.slug, since=row.paused_at, reason=row.paused_reason or "")
        for row in connection.execute(statement)
    ]


def _exists(connection: Connection, slug: str) -> bool:
    """False for one that is there, as nothing changed; raises for one that isn't."""
    if connection.execute(text("SELECT id FROM destinations WHERE slug = :slug"), {"slug": slug}).first() is None:
        raise errors.NotFound(f"There is no destination {slug!r}. Those that there are: engage-sync doctor")
    return False
