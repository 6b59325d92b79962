"""The channels on which processes wake each other (NOTIFY). A wake-up may be lost; whoever listens also polls."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, text

INBOX: Final = "engage_sync_inbox"
TOUCHES: Final = "engage_sync_touches"
OUTBOX: Final = "engage_sync_outbox"


def notify(connection: Connection, channel: str) -> None:
    """Wake the listeners of a channel when this transaction commits. At most one a batch."""
    connection.execute(text("SELECT pg_notify(:channel, '')"), {"channel": channel})
