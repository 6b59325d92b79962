"""What can be set on a sandbox."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

USERS_UPDATE: Final = "/api/users/update"
UPDATE_EMAIL: Final = "/api/users/updateEmail"
BULK_UPDATE: Final = "/api/users/bulkUpdate"
USERS_FORGET: Final = "/api/users/forget"
USERS_MERGE: Final = "/api/users/merge"
EVENTS_TRACK: Final = "/api/events/track"
TRACK_BULK: Final = "/api/events/trackBulk"
TRACK_PURCHASE: Final = "/api/commerce/trackPurchase"
UPDATE_CART: Final = "/api/commerce/updateCart"

ProjectType = Literal["email", "user_id", "hybrid"]

# DELETE /api/users/…, whoever it names.
DELETE_USERS: Final = "DELETE /api/users"

# Requests a second and project, as Iterable states them; it states none for the other endpoints.
RATE_LIMITS: Final[Mapping[str, float]] = {
    USERS_UPDATE: 500,
    BULK_UPDATE: 5,
    USERS_FORGET: 3,
    USERS_MERGE: 50,
    DELETE_USERS: 100,
    EVENTS_TRACK: 2000,
    TRACK_BULK: 10,
}
# Requests a day.
DAILY_LIMITS: Final[Mapping[str, int]] = {USERS_FORGET: 1000}


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """`rate_limits` are requests a second by path, 0 for none; a path that isn't named keeps Iterable's own limit.

    `strict_dates` refuses ISO 8601 date-times in data fields, which Iterable would keep as text. `strict_numbers`
    refuses a whole number in a field of doubles, as well as the reverse. `disallowed_events` are names that the project
    doesn't keep. `record_limit` is how many requests are remembered.
    """

    api_key: str = field(default="sandbox-key", repr=False)
    project_type: ProjectType = "email"
    rate_limits: Mapping[str, float] = field(default_factory=dict)
    strict_dates: bool = True
    strict_numbers: bool = True
    disallowed_events: frozenset[str] = frozenset()
    record_limit: int = 1_000_000
    seed: int = 0
