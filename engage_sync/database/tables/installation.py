"""The installation itself (written by database/migrate)."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, SmallInteger, Table, Text, Uuid, text

from engage_sync.database.tables.base import NOW, Instant, metadata

installation = Table(
    "installation",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("token", Uuid, nullable=False, server_default=text("gen_random_uuid()")),
    Column("created_at", Instant, nullable=False, server_default=NOW),
    # The server and database that it is bound to; another one is a copy.
    Column("system_identifier", BigInteger),
    Column("database_oid", BigInteger),
    # Half of the key that suppressed people are recognised by; the other half may be kept apart, in the environment,
    # and `privacy_check` tells whether it is the one that was used.
    Column("privacy_salt", Uuid, nullable=False, server_default=text("gen_random_uuid()")),
    Column("privacy_check", Uuid),
    # Calls of suppressed people that were dropped, by nobody's name.
    Column("suppressed_calls", BigInteger, nullable=False, server_default=text("0")),
    # The oldest revision whose processes may run on this schema (database/migrate).
    Column("compatible_since", Text),
)
