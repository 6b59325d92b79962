"""Waiting to be said (written by outbox/)."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Identity,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from engage_sync.database.tables.base import NOW, Instant, Name, identity, metadata

destinations = Table(
    "destinations",
    metadata,
    Column("id", SmallInteger, Identity(always=True), primary_key=True),
    Column("slug", Text, nullable=False, unique=True),
    Column("paused_at", Instant),
    Column("paused_reason", Text),
    Column("created_at", Instant, nullable=False, server_default=NOW),
)

# Thin: references and a value, rendered when sent. `attempts` counts starts; `started_at` is committed before the
# request goes out, and with it whether that is a bulk request. A call that is forwarded (`source_id`), or that says
# that an email changed, is no definition's: it has a `call` to say, happened at `as_of`, and its value is what people
# know it by (an event's name).
messages = Table(
    "messages",
    metadata,
    identity(),
    Column("destination_id", SmallInteger, nullable=False),
    Column("profile_id", BigInteger, nullable=False),
    Column("definition_id", Integer),
    Column("definition_version", Integer),
    Column("run_id", BigInteger),
    Column("identity_type", Name, nullable=False),
    Column("identity_value", Name, nullable=False),
    Column("call_type", Text, nullable=False),
    Column("value", JSONB, nullable=False),
    Column("told_version", Integer),
    Column("as_of", Instant, nullable=False),
    Column("enqueued_at", Instant, nullable=False, server_default=NOW),
    Column("attempts", SmallInteger, nullable=False, server_default=text("0")),
    Column("first_started_at", Instant),
    Column("started_at", Instant),
    Column("in_bulk", Boolean),
    Column("last_error", Text),
    Column("source_id", SmallInteger),
    Column("call", JSONB),
    Index(None, "profile_id", "destination_id", "id"),
)

# One row a person and destination with something waiting: workers claim lanes, never messages.
lanes = Table(
    "lanes",
    metadata,
    Column("profile_id", BigInteger, nullable=False),
    Column("destination_id", SmallInteger, nullable=False),
    Column("priority", SmallInteger, nullable=False),
    Column("due_at", Instant, nullable=False, server_default=NOW),
    Column("worker_id", Integer),
    PrimaryKeyConstraint("profile_id", "destination_id"),
    Index("ix_lanes_claim", "destination_id", "priority", "due_at", postgresql_where=text("worker_id IS NULL")),
    Index("ix_lanes_worker", "worker_id", postgresql_where=text("worker_id IS NOT NULL")),
)

# A worker holds an advisory lock of its id as long as its process lives; whoever can take that lock knows it is dead.
workers = Table(
    "workers",
    metadata,
    Column("id", Integer, Identity(always=True), primary_key=True),
    Column("role", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("process", Integer, nullable=False),
    Column("started_at", Instant, nullable=False, server_default=NOW),
    # Destinations that others get through to, and it doesn't.
    Column("cut_off_from", ARRAY(SmallInteger), nullable=False, server_default=text("'{}'")),
)

delivered = Table(
    "delivered",
    metadata,
    Column("id", BigInteger, nullable=False),
    Column("delivered_at", Instant, nullable=False, server_default=text("now()")),
    Column("destination_id", SmallInteger, nullable=False),
    Column("profile_id", BigInteger, nullable=False),
    Column("definition_id", Integer),
    Column("definition_version", Integer),
    Column("run_id", BigInteger),
    Column("identity_type", Name, nullable=False),
    Column("identity_value", Name, nullable=False),
    Column("call_type", Text, nullable=False),
    Column("value", JSONB, nullable=False),
    Column("told_version", Integer),
    Column("as_of", Instant, nullable=False),
    Column("enqueued_at", Instant, nullable=False),
    Column("attempts", SmallInteger, nullable=False),
    Column("source_id", SmallInteger),
    Column("in_bulk", Boolean, nullable=False, server_default=text("false")),
    Index(None, "profile_id", "delivered_at"),
    Index(None, "run_id"),
    postgresql_partition_by="RANGE (delivered_at)",
)

dead_letters = Table(
    "dead_letters",
    metadata,
    identity(),
    Column("message_id", BigInteger, nullable=False),
    Column("destination_id", SmallInteger, nullable=False),
    Column("profile_id", BigInteger, nullable=False),
    Column("definition_id", Integer),
    Column("definition_version", Integer),
    Column("run_id", BigInteger),
    Column("identity_type", Name, nullable=False),
    Column("identity_value", Name, nullable=False),
    Column("call_type", Text, nullable=False),
    Column("value", JSONB, nullable=False),
    Column("told_version", Integer),
    Column("as_of", Instant, nullable=False),
    Column("attempts", SmallInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("request", JSONB),
    Column("answer", LargeBinary),
    Column("status", Text, nullable=False, server_default=text("'open'")),
    Column("failed_at", Instant, nullable=False, server_default=NOW),
    Column("source_id", SmallInteger),
    Column("call", JSONB),
    Index(None, "profile_id"),
    Index("ix_dead_letters_open", "id", postgresql_where=text("status = 'open'")),
    # Replayed in the order in which they were to be said.
    Index("ix_dead_letters_open_message", "message_id", postgresql_where=text("status = 'open'")),
)

# What each destination answered when it was asked to forget somebody: one row an identity that it was asked for, or one
# that says why it wasn't. Written by outbox/forgetting.
privacy_answers = Table(
    "privacy_answers",
    metadata,
    identity(),
    Column("request_id", BigInteger, nullable=False, index=True),
    Column("destination_id", SmallInteger, nullable=False),
    Column("identity_type", Text),
    Column("status", Text, nullable=False),
    Column("reason", Text),
    Column("asked_at", Instant, nullable=False, server_default=NOW),
    Column("answered_at", Instant),
    Index("ix_privacy_answers_open", "destination_id", postgresql_where=text("status IN ('waiting', 'refused')")),
)

# When a destination took nearly nothing: while `until` is null nothing is sent but a probe at `probe_at`, and the time
# of an outage doesn't count against the messages that it held.
outages = Table(
    "outages",
    metadata,
    Column("destination_id", SmallInteger, nullable=False),
    Column("since", Instant, nullable=False),
    Column("until", Instant),
    Column("kind", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("probes", Integer, nullable=False, server_default=text("0")),
    Column("probe_at", Instant, nullable=False),
    PrimaryKeyConstraint("destination_id", "since"),
    Index("ix_outages_open", "destination_id", unique=True, postgresql_where=text("until IS NULL")),
)

# One row a budget, shared by all workers: the instant of the next free slot, and the `share` of the rate that was left
# when the destination last complained (`lowered_at`).
rate_budgets = Table(
    "rate_budgets",
    metadata,
    Column("destination_id", SmallInteger, nullable=False),
    Column("name", Text, nullable=False),
    Column("next_at", Instant, nullable=False, server_default=NOW),
    Column("share", Float, nullable=False, server_default=text("1")),
    Column("lowered_at", Instant),
    PrimaryKeyConstraint("destination_id", "name"),
)
