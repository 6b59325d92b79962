"""Facts come in (written by ingest/)."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Identity, PrimaryKeyConstraint, SmallInteger, Table, Text
from sqlalchemy.dialects.postgresql import JSONB

from engage_sync.database.tables.base import NOW, Instant, identity, metadata

sources = Table(
    "sources",
    metadata,
    Column("id", SmallInteger, Identity(always=True), primary_key=True),
    Column("slug", Text, nullable=False, unique=True),
    Column("created_at", Instant, nullable=False, server_default=NOW),
)

# Calls that were answered with 200 and not resolved yet. `received_at` is the database's clock at the insert.
inbox = Table(
    "inbox",
    metadata,
    identity(),
    Column("source_id", SmallInteger, nullable=False),
    Column("received_at", Instant, nullable=False, server_default=NOW),
    Column("call", JSONB, nullable=False),
)

# How many live calls of a source were resolved, by the minute in which they came; not those of imported files.
volumes = Table(
    "volumes",
    metadata,
    Column("source_id", SmallInteger, nullable=False),
    Column("minute", Instant, nullable=False),
    Column("calls", BigInteger, nullable=False),
    PrimaryKeyConstraint("source_id", "minute"),
)

# How often a source sent an event live, by quarters of an hour. `event` is a hash of its name: names may say
# whom an event is about, and a count outlives what is forgotten.
event_volumes = Table(
    "event_volumes",
    metadata,
    Column("source_id", SmallInteger, nullable=False),
    Column("event", BigInteger, nullable=False),
    Column("stretch", Instant, nullable=False),
    Column("calls", BigInteger, nullable=False),
    PrimaryKeyConstraint("source_id", "event", "stretch"),
)

# Calls that the resolver could not take, with the reason; nothing else is lost because of them.
rejects = Table(
    "rejects",
    metadata,
    identity(),
    Column("source_id", SmallInteger, nullable=False),
    Column("received_at", Instant, nullable=False),
    Column("call", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("rejected_at", Instant, nullable=False, server_default=NOW),
)
