"""Who is asked about, by which definition; and what they were told."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from engage_sync.definitions.versions import StoredDefinition
from engage_sync.profiles.finding import Found
from engage_sync.snapshots.states import State

_IDENTITIES = text("SELECT type, value FROM identities WHERE profile_id = :profile ORDER BY id")
_TOLD = text(
    """
    SELECT destinations.slug AS destination, told.identity_type, told.identity_value, told.call_type, told.confirmed,
           told.enqueued, told.is_unknown
    FROM told JOIN destinations ON destinations.id = told.destination_id
    WHERE told.profile_id = :profile AND told.definition_id = :definition
    ORDER BY destinations.slug, told.identity_value, told.call_type
    """
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """A definition and a person, at an instant. `is_past`: that was given, so that what was recorded then is meant."""

    definition: StoredDefinition
    person: Found
    state: State
    as_of: datetime
    is_past: bool

    @property
    def counts(self) -> bool:
        """Whether the definition speaks of this person at all."""
        return self.person.is_known or self.definition.spec.include_anonymous

    @property
    def ids(self) -> dict[str, Any]:
        return {"definition": self.definition.id, "profile": self.person.id}


def about(connection: Connection, asked: Asked) -> dict[str, Any]:
    """What is so whatever is said of the person."""
    definition, person = asked.definition, asked.person
    identities = connection.execute(_IDENTITIES, {"profile": person.id})
    return {
        "key": definition.key,
        "kind": definition.kind,
        "name": definition.spec.name,
        "query": definition.spec.query,
        "as_of": asked.as_of,
        "enabled": definition.enabled,
        "of_accounts": definition.spec.of_accounts,
        "include_anonymous": definition.spec.include_anonymous,
        "events_since": definition.since,
        "profile": {
            "profile_id": person.public_id,
            "is_known": person.is_known,
            "identities": [dict(row._mapping) for row in identities],
        },
        "counts_person": asked.counts,
    }


def told(connection: Connection, asked: Asked) -> list[dict[str, Any]]:
    """What each identity was told up to now, whatever instant is asked for."""
    return [dict(row._mapping) for row in connection.execute(_TOLD, asked.ids)]
