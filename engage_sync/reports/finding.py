"""Whom an identifier stands for."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, text

from engage_sync import errors

_FIND_PROFILE = text(
    """
    SELECT profiles.id, profiles.public_id, profiles.created_at, profiles.is_known
    FROM identities JOIN profiles ON profiles.id = identities.profile_id
    WHERE identities.type = :type AND identities.value = :value
    """
)
_FIND_BY_PUBLIC_ID = text(
    """
    SELECT id, public_id, created_at, is_known FROM profiles WHERE public_id = :value
    UNION ALL
    SELECT profiles.id, profiles.public_id, profiles.created_at, profiles.is_known
    FROM merges JOIN profiles ON profiles.id = merges.profile_id WHERE merges.public_id = :value
    LIMIT 1
    """
)


def find(connection: Connection, identifier: str) -> Any:
    """The row (id, public_id, created_at, is_known) of a profile by an identifier or its public id, merged away or not.

    Raises errors.NotFound, errors.UsageError for an identifier without a type.
    """
    kind, separator, value = identifier.partition(":")
    if not separator:
        if not identifier.startswith("use_"):
            raise errors.UsageError(
                f"{identifier!r} is no identifier. Expected user_id:…, email:…, anonymous_id:… or a profile's use_… id."
            )
        found = connection.execute(_FIND_BY_PUBLIC_ID, {"value": identifier}).one_or_none()
    else:
        value = value.strip().lower() if kind == "email" else value
        found = connection.execute(_FIND_PROFILE, {"type": kind, "value": value}).one_or_none()
    if found is None:
        raise errors.NotFound(f"There is no profile with {identifier}.")
    return found
