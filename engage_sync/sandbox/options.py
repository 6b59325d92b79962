"""What can be set on a sandbox."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

USERS_UPDATE: Final = "/api/users/update"
UPDATE_EMAIL: Final = "/api/users/updateEmail"
EVENTS_TRACK: Final = "/api/events/track"
TRACK_PURCHASE: Final = "/api/commerce/trackPurchase"
UPDATE_CART: Final = "/api/commerce/updateCart"

ProjectType = Literal["email", "user_id", "hybrid"]

# Requests a second and project, as Iterable states them; it states none for the other endpoints.
RATE_LIMITS: Final[Mapping[str, float]] = {USERS_UPDATE: 500, EVENTS_TRACK: 2000}


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """`rate_limits` are requests a second by path, 0 for none; a path that isn't named keeps Iterable's own limit.

    `strict_dates` refuses ISO 8601 date-times in data fields, which Iterable would keep as text. `strict_numbers`
    refuses a whole number in a field of doubles, as well as the reverse. `record_limit` is how many requests are
    remembered.
    """

    api_key: str = field(default="sandbox-key", repr=False)
    project_type: ProjectType = "email"
    rate_limits: Mapping[str, float] = field(default_factory=dict)
    strict_dates: bool = True
    strict_numbers: bool = True
    record_limit: int = 1_000_000
    seed: int = 0
