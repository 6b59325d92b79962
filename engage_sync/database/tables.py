"""All tables, in the order in which data flows through them. One space a database.

Each table has one writing module, named in its comment; later stages only read it. Keys begin with the profile where
a profile owns the row, so that a partitioning by profile can come without another key. Instants are `timestamptz`;
those that order live work are the database's own clock (`clock_timestamp()`), never a host's.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Float,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.types import UserDefinedType

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class Xid8(UserDefinedType[int]):
    """Postgres's 64-bit transaction id, which never wraps."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "xid8"


class PgSnapshot(UserDefinedType[str]):
    """Which transactions were visible at an instant (`pg_current_snapshot()`)."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "pg_snapshot"


# Text that the query language compares: by code point, whatever the database's own collation is.
Name = Text(collation="C")
Instant = DateTime(timezone=True)
NOW = text("clock_timestamp()")


def identity() -> Column[int]:
    return Column("id", BigInteger, Identity(always=True), primary_key=True)


# --- the installation (written by database/migrate) ---------------------------------------------------------------

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

# --- 1. facts come in (written by ingest/) ------------------------------------------------------------------------

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

# --- 2. who, and what is known (written by profiles/) -------------------------------------------------------------

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

# --- 3. what we want to know (written by definitions/versions) ----------------------------------------------------

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

# --- 5. what it was and is (written by snapshots/) ----------------------------------------------------------------

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
    # The input that is silent, and how many calls were usual.
    Column("source_id", SmallInteger),
    Column("usual", BigInteger),
    Column("approved_at", Instant),
    Column("allowed", BigInteger),
    Column("allowed_entered", BigInteger),
    Column("allowed_exited", BigInteger),
    Column("allowed_changed", BigInteger),
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

# --- 7. waiting to be said (written by outbox/) -------------------------------------------------------------------

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
