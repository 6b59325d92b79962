"""All tables, in the order in which data flows through them. One space a database.

Each table has one writing module, named in its comment; later stages only read it. Keys begin with the profile where
a profile owns the row, so that a partitioning by profile can come without another key. Instants are `timestamptz`;
those that order live work are the database's own clock (`clock_timestamp()`), never a host's.
"""

from __future__ import annotations

from engage_sync.database.tables.base import NOW, Instant, Name, PgSnapshot, Xid8, identity, metadata
from engage_sync.database.tables.definitions import definition_versions, definitions
from engage_sync.database.tables.ingest import event_volumes, inbox, rejects, sources, volumes
from engage_sync.database.tables.installation import installation
from engage_sync.database.tables.outbox import (
    dead_letters,
    delivered,
    destinations,
    lanes,
    messages,
    outages,
    privacy_answers,
    rate_budgets,
    workers,
)
from engage_sync.database.tables.profiles import (
    account_members,
    account_traits,
    accounts,
    events,
    identities,
    merges,
    privacy_requests,
    profiles,
    received_messages,
    suppressed_profiles,
    suppressions,
    touches,
    traits,
)
from engage_sync.database.tables.snapshots import (
    changes,
    computations,
    edges,
    holds,
    lost_profiles,
    runs,
    snapshots,
    told,
)

__all__ = [
    "NOW",
    "Instant",
    "Name",
    "PgSnapshot",
    "Xid8",
    "account_members",
    "account_traits",
    "accounts",
    "changes",
    "computations",
    "dead_letters",
    "definition_versions",
    "definitions",
    "delivered",
    "destinations",
    "edges",
    "event_volumes",
    "events",
    "holds",
    "identities",
    "identity",
    "inbox",
    "installation",
    "lanes",
    "lost_profiles",
    "merges",
    "messages",
    "metadata",
    "outages",
    "privacy_answers",
    "privacy_requests",
    "profiles",
    "rate_budgets",
    "received_messages",
    "rejects",
    "runs",
    "snapshots",
    "sources",
    "suppressed_profiles",
    "suppressions",
    "told",
    "touches",
    "traits",
    "volumes",
    "workers",
]
