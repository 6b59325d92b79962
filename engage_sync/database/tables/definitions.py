"""What we want to know (written by definitions/versions)."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, ForeignKey, Identity, Integer, PrimaryKeyConstraint, Table, Text
from sqlalchemy.dialects.postgresql import JSONB

from engage_sync.database.tables.base import NOW, Instant, metadata

definitions = Table(
    "definitions",
    metadata,
    Column("id", Integer, Identity(always=True), primary_key=True),
    Column("public_id", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    Column("key", Text, nullable=False, unique=True),
    Column("version", Integer, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("file", Text),
    Column("created_at", Instant, nullable=False, server_default=NOW),
    Column("updated_at", Instant, nullable=False, server_default=NOW),
    Column("deleted_at", Instant),
)

definition_versions = Table(
    "definition_versions",
    metadata,
    Column("definition_id", Integer, ForeignKey("definitions.id"), nullable=False),
    Column("version", Integer, nullable=False),
    Column("document", JSONB, nullable=False),
    Column("created_at", Instant, nullable=False, server_default=NOW),
    PrimaryKeyConstraint("definition_id", "version"),
)
