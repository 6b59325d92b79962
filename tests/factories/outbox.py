"""An outbox in the state that a test needs: destinations, definitions, people, and what waits for them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson
import psycopg
from sqlalchemy import Connection, Engine, text

from engage_sync.database.engine import connect_directly
from engage_sync.outbox import claim, destinations_table, enqueue, workers
from engage_sync.outbox.claim import ClaimedLane, Started, Wanted
from engage_sync.outbox.enqueue import NewMessage, Priority

AS_OF = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
TIMEOUT = 10.0
TRACK = {"entered": "Audience Entered", "exited": "Audience Exited"}


@dataclass
class Outbox:
    """`destination` and `definition` are ids; a worker lives until its connection is closed."""

    engine: Engine
    url: str
    destination: int = 0
    definition: int = 0
    connections: dict[int, psycopg.Connection[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        with self.engine.begin() as connection:
            self.destination = destinations_table.ensure(connection, ["iterable"])["iterable"]
        self.definition = self.audience("buyers")

    # --- what is there ------------------------------------------------------------------------------------------

    def audience(self, key: str, kind: str = "audience", slug: str = "iterable") -> int:
        names = TRACK if kind == "audience" else {"computed": "Trait Computed"}
        document = {"key": key, "destinations": {slug: {"identify": True, "track": names}}}
        with self.engine.begin() as connection:
            definition: int = connection.execute(
                text(
                    "INSERT INTO definitions (public_id, kind, key, version, enabled)"
                    " VALUES ('aud_' || CAST(:key AS text), :kind, CAST(:key AS text), 1, true) RETURNING id"
                ),
                {"key": key, "kind": kind},
            ).scalar_one()
            connection.execute(
                text(
                    "INSERT INTO definition_versions (definition_id, version, document)"
                    " VALUES (:id, 1, CAST(:document AS jsonb))"
                ),
                {"id": definition, "document": orjson.dumps(document).decode()},
            )
        return definition

    def waiting_message(self, email: str = "ann@x.io", **options: Any) -> int:
        """One more message for a person (one an email), at the end of what waits; returns its id."""
        with self.engine.begin() as connection:
            return self.enqueue(connection, email, **options)

    def enqueue(
        self,
        connection: Connection,
        email: str,
        *,
        value: Any = True,
        call_type: str = "identify",
        priority: Priority = Priority.TICK,
        definition: int | None = None,
        destination: int | None = None,
    ) -> int:
        definition = definition or self.definition
        destination = destination or self.destination
        profile = self.profile(connection, email)
        content = orjson.dumps(value).decode()
        version: int = connection.execute(
            text(
                """
                INSERT INTO told (identity_value, identity_type, destination_id, definition_id, call_type, profile_id,
                                  version, enqueued)
                VALUES (:email, 'email', :destination, :definition, :call_type, :profile, 1, CAST(:value AS jsonb))
                ON CONFLICT (identity_value, identity_type, destination_id, definition_id, call_type)
                DO UPDATE SET version = told.version + 1, enqueued = excluded.enqueued
                RETURNING version
                """
            ),
            {
                "email": email,
                "destination": destination,
                "definition": definition,
                "call_type": call_type,
                "profile": profile,
                "value": content,
            },
        ).scalar_one()
        message = NewMessage(
            definition_id=definition,
            definition_version=1,
            run_id=1,
            destination_id=destination,
            profile_id=profile,
            identity_type="email",
            identity_value=email,
            call_type=call_type,
            value=content,
            told_version=version,
        )
        enqueue.append(connection, [message], as_of=AS_OF, priority=priority)
        return int(connection.execute(text("SELECT max(id) FROM messages")).scalar_one())

    def profile(self, connection: Connection, email: str) -> int:
        found = connection.execute(text("SELECT profile_id FROM identities WHERE value = :email"), {"email": email})
        if (known := found.scalar()) is not None:
            return int(known)
        profile: int = connection.execute(text("INSERT INTO profiles DEFAULT VALUES RETURNING id")).scalar_one()
        connection.execute(
            text("INSERT INTO identities (profile_id, type, value) VALUES (:profile, 'email', :email)"),
            {"profile": profile, "email": email},
        )
        return profile

    def many_waiting(self, people: int, *, messages: int = 1, priority: Priority = Priority.TICK) -> None:
        """Identifies for many people at once, each an own email; their told rows too."""
        with self.engine.begin() as connection:
            given = {
                "people": people,
                "messages": messages,
                "priority": int(priority),
                "destination": self.destination,
                "definition": self.definition,
            }
            for statement in _MANY:
                connection.execute(text(statement), given)
            connection.execute(text("ANALYZE messages, lanes, told, identities"))

    # --- workers ------------------------------------------------------------------------------------------------

    def worker(self) -> int:
        """A living worker."""
        connection = connect_directly(self.url, application="test worker")
        worker = workers.register(connection)
        self.connections[worker] = connection
        return worker

    def kill(self, worker: int) -> None:
        """The worker's process dies: its connection and lock go, all else stays as it is."""
        connection = self.connections.pop(worker)
        connection.close()
        # The server notices the end a moment later.
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as watching:
            while watching.execute(
                text("SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = :worker)"),
                {"worker": worker},
            ).scalar_one():
                watching.execute(text("SELECT pg_sleep(0.005)"))

    def claim(self, worker: int, limit: int = 50) -> list[ClaimedLane]:
        with self.engine.begin() as connection:
            return claim.claim(connection, self.destination, worker, limit)

    def start(self, worker: int, *lanes: ClaimedLane) -> dict[int, Started]:
        """Start the first message of each lane."""
        wanted = [Wanted(lane.messages[0].id, lane.profile_id) for lane in lanes]
        with self.engine.begin() as connection:
            return claim.start(connection, worker, wanted, TIMEOUT)

    # --- what is so ---------------------------------------------------------------------------------------------

    def rows(self, statement: str, **given: Any) -> list[tuple[Any, ...]]:
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(statement), given)]

    def told(self) -> list[tuple[Any, ...]]:
        """(email, call type, version, enqueued, confirmed, confirmed version), by email."""
        return self.rows(
            "SELECT identity_value, call_type, version, enqueued, confirmed, confirmed_version FROM told"
            " ORDER BY identity_value, call_type"
        )

    def count(self, table: str) -> int:
        return int(self.rows(f"SELECT count(*) FROM {table}")[0][0])

    def close(self) -> None:
        for connection in self.connections.values():
            connection.close()


_MANY = (
    "INSERT INTO profiles (public_id) SELECT 'use_many' || n FROM generate_series(1, :people) AS n",
    """
    INSERT INTO identities (profile_id, type, value)
    SELECT id, 'email', 'p' || id || '@x.io' FROM profiles WHERE public_id LIKE 'use_many%'
    """,
    """
    INSERT INTO told (identity_value, identity_type, destination_id, definition_id, call_type, profile_id, version,
                      enqueued)
    SELECT value, 'email', :destination, :definition, 'identify', profile_id, :messages, 'true'
    FROM identities WHERE value LIKE 'p%@x.io'
    """,
    """
    INSERT INTO messages (destination_id, profile_id, definition_id, definition_version, run_id, identity_type,
                          identity_value, call_type, value, told_version, as_of)
    SELECT :destination, profile_id, :definition, 1, 1, 'email', value, 'identify', to_jsonb(n % 2 = 1), n, now()
    FROM identities CROSS JOIN generate_series(1, :messages) AS n WHERE value LIKE 'p%@x.io'
    ORDER BY n, profile_id
    """,
    """
    INSERT INTO lanes (profile_id, destination_id, priority)
    SELECT profile_id, :destination, :priority FROM identities WHERE value LIKE 'p%@x.io'
    """,
)
