"""The channels on which processes wake each other (NOTIFY). A wake-up may be lost; whoever listens also polls."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, text

from engage_sync.database import pipeline
from engage_sync.database.pipeline import Query

INBOX: Final = "engage_sync_inbox"
TOUCHES: Final = "engage_sync_touches"
OUTBOX: Final = "engage_sync_outbox"
_NOTIFY = text("SELECT pg_notify(:channel, '')")


def notify(connection: Connection, channel: str) -> None:
    """Wake the listeners of a channel when this transaction commits. At most one a batch."""
    pipeline.rows(connection, _NOTIFY, {"channel": channel})


def notifying(channel: str) -> Query[None]:
    """Wakes the listeners of a channel when this transaction commits."""
    return Query(_NOTIFY, {"channel": channel}, pipeline.nothing)
