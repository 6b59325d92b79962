"""What people are called, for those who read of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, text

_NAMES = text(
    """
    SELECT profiles.id, profiles.public_id AS profile_id,
           (SELECT value FROM identities WHERE identities.profile_id = profiles.id AND type = 'user_id'
            ORDER BY id LIMIT 1) AS user_id,
           ARRAY(SELECT value FROM identities WHERE identities.profile_id = profiles.id AND type = 'email'
                 ORDER BY id) AS emails
    FROM profiles WHERE id = ANY(CAST(:people AS bigint[]))
    """
)


class Who:
    """Remembers what was read once."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._known: dict[int, dict[str, Any]] = {}

    def load(self, people: Iterable[int]) -> None:
        """Read all of these at once."""
        missing = [profile for profile in dict.fromkeys(people) if profile not in self._known]
        if missing:
            for row in self._connection.execute(_NAMES, {"people": missing}):
                self._known[row.id] = {"profile_id": row.profile_id, "user_id": row.user_id, "emails": row.emails}

    def is_called(self, profile: int) -> dict[str, Any]:
        """`{"profile_id", "user_id", "emails"}`, as in a list of members."""
        self.load([profile])
        return self._known[profile]
