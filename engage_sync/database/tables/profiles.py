"""Who, and what is known (written by profiles/)."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Identity,
    Index,
    Integer,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from engage_sync.database.tables.base import NOW, Instant, Name, Xid8, identity, metadata

# Every message id that a source ever sent, as the first 16 bytes of a hash: counted once, for ever.
received_messages = Table(
    "received_messages",
    metadata,
    Column("digest", Uuid, nullable=False),
    Column("source_id", SmallInteger, nullable=False),
    PrimaryKeyConstraint("digest", "source_id"),
)

profiles = Table(
    "profiles",
    metadata,
    identity(),
    Column(
        "public_id",
        Text,
        nullable=False,
        unique=True,
        server_default=text("'use_' || replace(gen_random_uuid()::text, '-', '')"),
    ),
    Column("created_at", Instant, nullable=False, server_default=NOW),
    # Has a user_id or an email. The others count only where a definition includes anonymous users.
    Column("is_known", Boolean, nullable=False, server_default=text("false")),
)

# Where the public id of a profile that was merged away leads.
merges = Table(
    "merges",
    metadata,
    Column("public_id", Text, primary_key=True),
    Column("profile_id", BigInteger, nullable=False, index=True),
    Column("merged_at", Instant, nullable=False, server_default=NOW),
)

# `id` orders a profile's identities by the time they were learnt: its first email is the one with the lowest.
identities = Table(
    "identities",
    metadata,
    identity(),
    Column("profile_id", BigInteger, nullable=False),
    Column("type", Name, nullable=False),
    Column("value", Name, nullable=False),
    Column("source_id", SmallInteger),
    Column("created_at", Instant, nullable=False, server_default=NOW),
    UniqueConstraint("value", "type"),
    Index(None, "profile_id", "type", "id"),
)

traits = Table(
    "traits",
    metadata,
    Column("profile_id", BigInteger, nullable=False),
    Column("name", Name, nullable=False),
    Column("value", JSONB, nullable=False),
    Column("timestamp", Instant, nullable=False),
    PrimaryKeyConstraint("profile_id", "name"),
    Index(None, "name", "profile_id"),
)

# What group calls speak of, by their groupId.
accounts = Table(
    "accounts",
    metadata,
    identity(),
    Column("group_id", Name, nullable=False, unique=True),
    Column("created_at", Instant, nullable=False, server_default=NOW),
)

account_traits = Table(
    "account_traits",
    metadata,
    Column("account_id", BigInteger, nullable=False),
    Column("name", Name, nullable=False),
    Column("value", JSONB, nullable=False),
    Column("timestamp", Instant, nullable=False),
    PrimaryKeyConstraint("account_id", "name"),
    Index(None, "name", "account_id"),
)

# Who belongs to which account; `timestamp` is that of the newest group call that said so.
account_members = Table(
    "account_members",
    metadata,
    Column("profile_id", BigInteger, nullable=False),
    Column("account_id", BigInteger, nullable=False),
    Column("timestamp", Instant, nullable=False),
    PrimaryKeyConstraint("profile_id", "account_id"),
    Index(None, "account_id", "profile_id"),
)

# The key serves the evaluation of one profile; the first index that of everyone and the edges of windows; the second
# holds the few events that lay in the future when they came, which turn visible by time alone.
events = Table(
    "events",
    metadata,
    Column("profile_id", BigInteger, nullable=False),
    Column("name", Name, nullable=False),
    Column("timestamp", Instant, nullable=False),
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column("received_at", Instant, nullable=False),
    Column("source_id", SmallInteger, nullable=False),
    Column("type", Name, nullable=False),
    Column("message_id", Text, nullable=False),
    Column("properties", JSONB, nullable=False),
    Column("context", JSONB),
    PrimaryKeyConstraint("profile_id", "name", "timestamp", "id"),
    Index("ix_events_name_timestamp", "name", "timestamp", postgresql_include=["profile_id"]),
    Index("ix_events_future", "name", "timestamp", postgresql_where=text("timestamp > received_at")),
)

# Who asked to be left alone or forgotten, without a word about who they are: what is kept to show that it was done.
# `profiles` are those (internal ids) of which something may be left, null when nothing is; `deleted` the number of rows
# by table. Written by profiles/privacy.
privacy_requests = Table(
    "privacy_requests",
    metadata,
    identity(),
    Column("kind", Text, nullable=False),
    Column("asked_at", Instant, nullable=False, server_default=NOW),
    Column("asked_by", Text, nullable=False),
    Column("was_known", Boolean, nullable=False),
    Column("profiles", ARRAY(BigInteger)),
    Column("withdrawn", Integer, nullable=False, server_default=text("0")),
    Column("deleted", JSONB, nullable=False, server_default=text("'{}'")),
    Column("finished_at", Instant),
    Column("undone_at", Instant),
    Column("undone_by", Text),
    Index("ix_privacy_requests_unfinished", "id", postgresql_where=text("finished_at IS NULL")),
)

# Keyed hashes of all identifiers of those people; written by profiles/suppression.
suppressions = Table(
    "suppressions",
    metadata,
    Column("digest", Uuid, primary_key=True),
    Column("request_id", BigInteger, nullable=False, index=True),
    Column("created_at", Instant, nullable=False, server_default=NOW),
)

# Profiles to whom nothing is sent: those of suppressed people, and until they are gone of people who are being
# forgotten. Written by profiles/suppression.
suppressed_profiles = Table(
    "suppressed_profiles",
    metadata,
    Column("profile_id", BigInteger, primary_key=True, autoincrement=False),
    Column("request_id", BigInteger, nullable=False, index=True),
)

# Who was touched, and why: 'event:<name>', 'trait:<name>', 'definition:<key>', 'account' (belongs to another one, or to
# them in another order), 'account_trait:<name>', 'created' (a new profile, whose facts are all among the other
# reasons), or 'identity' (anything else about who somebody is; it concerns every definition).
# Append-only and without a unique key on purpose: an upsert that coalesces loses rows to open transactions. Read by
# `xid` against a snapshot.
touches = Table(
    "touches",
    metadata,
    Column("profile_id", BigInteger, nullable=False),
    Column("reasons", ARRAY(Text), nullable=False),
    Column("xid", Xid8, nullable=False, server_default=text("pg_current_xact_id()")),
    Column("touched_at", Instant, nullable=False, server_default=text("now()")),
    Index(None, "xid"),
    postgresql_partition_by="RANGE (touched_at)",
)
