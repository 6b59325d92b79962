"""What it was and is, and what each identity was told (written by snapshots/)."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from engage_sync.database.tables.base import NOW, Instant, Name, PgSnapshot, identity, metadata

# How far a definition has been computed. `swept_to` is t0, the instant up to which window edges have been crossed;
# `touches_seen` the transactions whose touches it has read; `as_of` the last instant of any of its computations.
computations = Table(
    "computations",
    metadata,
    Column("definition_id", Integer, ForeignKey("definitions.id"), primary_key=True, autoincrement=False),
    Column("version", Integer),
    Column("swept_to", Instant),
    Column("swept_live", Boolean, nullable=False, server_default=text("false")),
    Column("touches_seen", PgSnapshot),
    Column("as_of", Instant),
    Column("members", BigInteger, nullable=False, server_default=text("0")),
    Column("computed_at", Instant),
    # Microseconds that evaluating one profile takes, smoothed over runs that took long enough to tell.
    Column("cost", Float),
    Column("error", Text),
    # Within the hour, by stretches of five minutes, the newest first: how many entered or left, and who entered less
    # who left. `recent_slot` numbers the newest stretch.
    Column("recent_changes", ARRAY(BigInteger), nullable=False, server_default=text("'{}'")),
    Column("recent_growth", ARRAY(BigInteger), nullable=False, server_default=text("'{}'")),
    Column("recent_slot", BigInteger, nullable=False, server_default=text("0")),
    # Somebody approved what followed from a silent input: so long that holds nothing.
    Column("silence_accepted_until", Instant),
)

# Definitions whose next change waits for somebody. What it would be, its run says; `allowed` are the counts up to which
# an approved one may go, less what is written already.
holds = Table(
    "holds",
    metadata,
    Column("definition_id", Integer, ForeignKey("definitions.id"), primary_key=True, autoincrement=False),
    Column("version", Integer, nullable=False),
    Column("run_id", BigInteger, nullable=False),
    Column("status", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("is_live", Boolean, nullable=False),
    Column("looked_at", Instant, nullable=False),
    Column("held_at", Instant, nullable=False, server_default=NOW),
    # The input that is silent (of which `event`; all of it where that is empty), and how many calls were usual.
    Column("source_id", SmallInteger),
    Column("usual", BigInteger),
    Column("approved_at", Instant),
    Column("allowed", BigInteger),
    Column("allowed_entered", BigInteger),
    Column("allowed_exited", BigInteger),
    Column("allowed_changed", BigInteger),
    Column("event", Text),
)

snapshots = Table(
    "snapshots",
    metadata,
    Column("profile_id", BigInteger, nullable=False),
    Column("definition_id", Integer, nullable=False),
    Column("value", JSONB, nullable=False),
    Column("since", Instant, nullable=False),
    # Of an SQL trait: the identifier that its row gave, as user_id:… or email:….
    Column("matched_by", Text),
    PrimaryKeyConstraint("profile_id", "definition_id"),
    Index(None, "definition_id", "profile_id"),
)

# For definitions that compare dates with now: the first instant after the last evaluation at which time alone may
# change what is said of a profile.
edges = Table(
    "edges",
    metadata,
    Column("profile_id", BigInteger, nullable=False),
    Column("definition_id", Integer, nullable=False),
    Column("at", Instant, nullable=False),
    PrimaryKeyConstraint("profile_id", "definition_id"),
    Index(None, "definition_id", "at"),
)

# The ledger. `before` and `after` are values; SQL null is "no value".
changes = Table(
    "changes",
    metadata,
    Column("profile_id", BigInteger, nullable=False),
    Column("definition_id", Integer, nullable=False),
    Column("as_of", Instant, nullable=False),
    Column("recorded_at", Instant, nullable=False, server_default=text("now()")),
    Column("run_id", BigInteger, nullable=False),
    Column("before", JSONB),
    Column("after", JSONB),
    Index(None, "profile_id", "definition_id", "as_of"),
    Index(None, "definition_id", "as_of"),
    postgresql_partition_by="RANGE (recorded_at)",
)

# Which profile took in one that was merged away, by internal ids: the ledger keeps those that a change was made under.
lost_profiles = Table(
    "lost_profiles",
    metadata,
    Column("lost_id", BigInteger, primary_key=True, autoincrement=False),
    Column("profile_id", BigInteger, nullable=False, index=True),
    Column("lost_at", Instant, nullable=False, server_default=NOW),
)

# What each identity was told. `enqueued` is the newest value that still waits (SQL null: nothing waits), `confirmed`
# the newest that the destination took; `version` numbers what was ever enqueued and makes the message ids. What
# is confirmed of an adopted one was read from the destination.
told = Table(
    "told",
    metadata,
    Column("identity_value", Name, nullable=False),
    Column("identity_type", Name, nullable=False),
    Column("destination_id", SmallInteger, nullable=False),
    Column("definition_id", Integer, nullable=False),
    Column("call_type", Text, nullable=False),
    Column("profile_id", BigInteger, nullable=False),
    Column("version", Integer, nullable=False),
    Column("enqueued", JSONB),
    Column("confirmed", JSONB),
    Column("confirmed_version", Integer, nullable=False, server_default=text("0")),
    Column("is_unknown", Boolean, nullable=False, server_default=text("false")),
    Column("is_adopted", Boolean, nullable=False, server_default=text("false")),
    PrimaryKeyConstraint("identity_value", "identity_type", "destination_id", "definition_id", "call_type"),
    Index(None, "profile_id", "definition_id"),
    # What was read from the destination, not said to it; and what isn't known for certain. Both are few, or soon gone.
    Index("ix_told_adopted", "definition_id", "profile_id", postgresql_where=text("is_adopted")),
    Index("ix_told_unknown", "destination_id", "definition_id", postgresql_where=text("is_unknown")),
)

runs = Table(
    "runs",
    metadata,
    identity(),
    Column("definition_id", Integer, ForeignKey("definitions.id"), nullable=False),
    Column("version", Integer, nullable=False),
    Column("cause", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("status", Text, nullable=False, server_default=text("'running'")),
    Column("as_of", Instant),
    Column("started_at", Instant, nullable=False, server_default=NOW),
    Column("finished_at", Instant),
    # Real time keeps one row a definition and minute; null for every other cause.
    Column("minute", Instant),
    Column("evaluated", BigInteger, nullable=False, server_default=text("0")),
    Column("entered", BigInteger, nullable=False, server_default=text("0")),
    Column("exited", BigInteger, nullable=False, server_default=text("0")),
    Column("changed", BigInteger, nullable=False, server_default=text("0")),
    Column("messages", BigInteger, nullable=False, server_default=text("0")),
    Column("duration_ms", Float, nullable=False, server_default=text("0")),
    Column("error", Text),
    # Why it is held, or what became of that.
    Column("note", Text),
    UniqueConstraint("definition_id", "minute"),
)
