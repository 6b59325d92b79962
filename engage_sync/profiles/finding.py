"""One profile by what people call it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from engage_sync import errors

# What a profile's use_… id goes by where identifiers are expected.
PUBLIC_ID = "public_id"


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """`id` is internal, `public_id` what leaves; `is_known`: has a user id or an email."""

    id: int
    public_id: str
    created_at: datetime
    is_known: bool


_BY_IDENTIFIER = text(
    """
    SELECT profiles.id, profiles.public_id, profiles.created_at, profiles.is_known
    FROM identities JOIN profiles ON profiles.id = identities.profile_id
    WHERE identities.type = :type AND identities.value = :value
    """
)
_BY_PUBLIC_IDS = text(
    """
    SELECT public_id, id FROM profiles WHERE public_id = ANY(CAST(:values AS text[]))
    UNION ALL
    SELECT public_id, profile_id FROM merges WHERE public_id = ANY(CAST(:values AS text[]))
    """
)
_BY_PUBLIC_ID = text(
    """
    SELECT id, public_id, created_at, is_known FROM profiles WHERE public_id = :value
    UNION ALL
    SELECT profiles.id, profiles.public_id, profiles.created_at, profiles.is_known
    FROM merges JOIN profiles ON profiles.id = merges.profile_id WHERE merges.public_id = :value
    LIMIT 1
    """
)


def by_public_ids(connection: Connection, public_ids: Sequence[str]) -> dict[str, int]:
    """The internal ids of those profiles that there are, merged away or not."""
    return dict(connection.execute(_BY_PUBLIC_IDS, {"values": list(public_ids)}).tuples().all()) if public_ids else {}


def find(connection: Connection, identifier: str) -> Found:
    """The profile of `user_id:u1`, `email:a@x.io`, `anonymous_id:…`, or of its public id, merged away or not.

    Raises errors.NotFound; errors.UsageError for an identifier without a type.
    """
    kind, separator, value = identifier.partition(":")
    if not separator:
        if not identifier.startswith("use_"):
            raise errors.UsageError(
                f"{identifier!r} is no identifier. Expected user_id:…, email:…, anonymous_id:… or a profile's use_… id."
            )
        found = connection.execute(_BY_PUBLIC_ID, {"value": identifier}).one_or_none()
    else:
        value = value.strip().lower() if kind == "email" else value
        found = connection.execute(_BY_IDENTIFIER, {"type": kind, "value": value}).one_or_none()
    if found is None:
        raise errors.NotFound(f"There is no profile with {identifier}.")
    return Found(**found._mapping)
