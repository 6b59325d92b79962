"""A small world for tests: people, what they did, definitions, and what was said to whom.

Facts are written as the resolver writes them, touches included; everything after that is the real thing.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import Engine, text

from engage_sync.database import binary
from engage_sync.definitions import language, versions
from engage_sync.definitions.model import DefinitionSpec, Tells, TrackNames
from engage_sync.profiles import accounts, store
from engage_sync.profiles.facts import Facts, canonical
from engage_sync.profiles.graph import Node
from engage_sync.snapshots.runs import Cause
from engage_sync.sync import compute as use_case
from engage_sync.sync.batches import RunReport
from engage_sync.sync.catalog import Catalog, Context
from engage_sync.sync.rounds import Round

IDENTIFY = {"iterable": Tells(identify=True)}
BOTH = {"iterable": Tells(identify=True, track=TrackNames(entered="Audience Entered", exited="Audience Exited"))}
TRAIT_BOTH = {"iterable": Tells(identify=True, track=TrackNames(computed="Trait Computed"))}


def audience(key: str, query: str, *, of_accounts: bool = False, **options: Any) -> DefinitionSpec:
    tree = language.parse(query, kind="audience", of_accounts=of_accounts)
    return DefinitionSpec(
        kind="audience", key=key, name=key, query=query, tree=tree, **{"destinations": IDENTIFY, **options}
    )


def trait(key: str, query: str, *, of_accounts: bool = False, **options: Any) -> DefinitionSpec:
    tree = language.parse(query, kind="computed_trait", of_accounts=of_accounts)
    return DefinitionSpec(
        kind="computed_trait", key=key, name=key, query=query, tree=tree, **{"destinations": IDENTIFY, **options}
    )


def ago(**span: float) -> datetime:
    """An instant so long before now."""
    return datetime.now(UTC) - timedelta(**span)


class World:
    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        with engine.begin() as connection:
            source = "INSERT INTO sources (slug) VALUES ('web'), ('app') RETURNING id"
            self.source = connection.execute(text(source)).scalars().first()
            destination = connection.execute(text("INSERT INTO destinations (slug) VALUES ('iterable') RETURNING id"))
            self.context = Context(destinations={"iterable": destination.scalar_one()})
        self.people: dict[str, int] = {}

    # --- facts --------------------------------------------------------------------------------------------------

    def person(self, name: str, *, user_id: str | None = None, emails: tuple[str, ...] = ()) -> int:
        """A profile; without user id and emails an anonymous one."""
        known = user_id is not None or bool(emails)
        with self.engine.begin() as connection:
            profile: int = connection.execute(
                text("INSERT INTO profiles (is_known) VALUES (:known) RETURNING id"), {"known": known}
            ).scalar_one()
            self._touch(connection, profile, "identity")
        self.people[name] = profile
        identities = [("user_id", user_id)] if user_id else []
        for kind, value in [*identities, *(("email", email) for email in emails)]:
            self.gain(name, kind, value or "")
        return profile

    def gain(self, name: str, kind: str, value: str) -> None:
        """A person gains an identifier."""
        with self.engine.begin() as connection:
            statement = "INSERT INTO identities (profile_id, type, value) VALUES (:profile, :type, :value)"
            given = {"profile": self.people[name], "type": kind, "value": value}
            connection.execute(text(statement), given)
            if kind in ("user_id", "email"):
                connection.execute(text("UPDATE profiles SET is_known = true WHERE id = :profile"), given)
            self._touch(connection, self.people[name], "identity")

    def lose(self, name: str, kind: str, value: str) -> None:
        """An identifier leaves a person."""
        with self.engine.begin() as connection:
            connection.execute(
                text("DELETE FROM identities WHERE type = :type AND value = :value"), {"type": kind, "value": value}
            )
            self._touch(connection, self.people[name], "identity")

    def event(
        self,
        person: str,
        event: str,
        at: datetime,
        context: Mapping[str, Any] | None = None,
        /,
        source: str = "web",
        **properties: Any,
    ) -> None:
        """Somebody did something at an instant; it arrives now."""
        with self.engine.begin() as connection:
            connection.execute(
                text(
                    """
                    INSERT INTO events (profile_id, name, timestamp, received_at, source_id, type, message_id,
                                        properties, context)
                    SELECT :profile, :name, :at, clock_timestamp(), id, 'track', gen_random_uuid()::text,
                           CAST(:properties AS jsonb), CAST(:context AS jsonb)
                    FROM sources WHERE slug = :source
                    """
                ),
                {
                    "profile": self.people[person],
                    "name": event,
                    "at": at,
                    "source": source,
                    "properties": orjson.dumps(properties).decode(),
                    "context": orjson.dumps(context).decode() if context is not None else None,
                },
            )
            self._touch(connection, self.people[person], f"event:{event}")

    def trait(self, person: str, name: str, value: Any, at: datetime) -> None:
        """Somebody's trait is sent."""
        with self.engine.begin() as connection:
            connection.execute(
                text(
                    """
                    INSERT INTO traits (profile_id, name, value, timestamp)
                    VALUES (:profile, :name, CAST(:value AS jsonb), :at)
                    ON CONFLICT (profile_id, name) DO UPDATE SET value = excluded.value, timestamp = excluded.timestamp
                    WHERE traits.timestamp <= excluded.timestamp
                    """
                ),
                {"profile": self.people[person], "name": name, "value": orjson.dumps(value).decode(), "at": at},
            )
            self._touch(connection, self.people[person], f"trait:{name}")

    def group(self, person: str, group_id: str, at: datetime, **traits: Any) -> None:
        """A group call: somebody belongs to an account, of which this is known. Not its event."""
        node = Node(id=self.people[person], age=(0.0, self.people[person]))
        call = Facts(
            position=0,
            source_id=self.source or 0,
            digest=b"",
            identifiers=(),
            previous_id=None,
            timestamp=binary.microseconds(at),
            is_adjusted=False,
            event=None,
            event_row=b"",
            traits=None,
            group_id=group_id,
            group_traits={name: canonical(value) for name, value in traits.items()},
        )
        with self.engine.begin() as connection:
            accounts.write(connection, [accounts.Grouped(node, call)])
            if node.reasons:
                store.write_touches(connection, [node], [])

    # --- what is done -------------------------------------------------------------------------------------------

    def apply(self, *specs: DefinitionSpec) -> None:
        with self.engine.begin() as connection:
            versions.apply(connection, specs)

    def compute(self, *keys: str, as_of: datetime | None = None, full: bool = False) -> dict[str, RunReport]:
        reports = use_case.compute(self.engine, self.context, keys or None, as_of=as_of, full=full, cause=Cause.MANUAL)
        assert [report.error for report in reports if report.error] == []
        return {report.key: report for report in reports}

    def turn(self, *, sweeps: bool = False) -> Round:
        """A turn of real time."""
        with self.engine.begin() as connection:
            catalog = Catalog.load(connection)
        return use_case.turn(self.engine, self.context, catalog, catalog.definitions, sweeps=sweeps)

    def deliver(self) -> list[tuple[str, str, str, Any]]:
        """Take everything out of the outbox as if it had been delivered: (identity, key, call type, value)."""
        with self.engine.begin() as connection:
            said = self._waiting(connection)
            connection.execute(text("DELETE FROM messages"))
            connection.execute(text("DELETE FROM lanes"))
            connection.execute(
                text(
                    """
                    UPDATE told SET confirmed = enqueued, confirmed_version = version, enqueued = NULL
                    WHERE enqueued IS NOT NULL
                    """
                )
            )
        return said

    # --- what is so ---------------------------------------------------------------------------------------------

    def waiting(self) -> list[tuple[str, str, str, Any]]:
        with self.engine.begin() as connection:
            return self._waiting(connection)

    def values(self, key: str) -> dict[str, Any]:
        """The snapshot of a definition, by person."""
        names = {profile: name for name, profile in self.people.items()}
        with self.engine.begin() as connection:
            rows = connection.execute(
                text(
                    """
                    SELECT profile_id, value FROM snapshots JOIN definitions ON definitions.id = definition_id
                    WHERE key = :key
                    """
                ),
                {"key": key},
            )
            return {names[row.profile_id]: row.value for row in rows}

    def members(self, key: str) -> set[str]:
        return {name for name, value in self.values(key).items() if value is True}

    def _waiting(self, connection: Any) -> list[tuple[str, str, str, Any]]:
        rows = connection.execute(
            text(
                """
                SELECT identity_value, key, call_type, value FROM messages
                JOIN definitions ON definitions.id = definition_id ORDER BY messages.id
                """
            )
        )
        return [tuple(row) for row in rows]

    def _touch(self, connection: Any, profile: int, reason: str) -> None:
        connection.execute(
            text("INSERT INTO touches (profile_id, reasons) VALUES (:profile, ARRAY[CAST(:reason AS text)])"),
            {"profile": profile, "reason": reason},
        )
