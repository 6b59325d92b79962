"""What can be set for an Iterable destination in engage.yml."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

from pydantic import Field, SecretStr, field_validator

from engage_sync.destinations import settings

# Requests a second and project. Iterable states those of identify, track, their bulk requests, and forget. For commerce
# and email changes it states none, so they stay at or below the rate of users/update, which both of them imply on
# Iterable's side.
DEFAULT_BUDGETS: Final[Mapping[str, float]] = {
    "identify": 500.0,
    "track": 2000.0,
    "identify_bulk": 5.0,
    "track_bulk": 10.0,
    "commerce": 500.0,
    "forget": 3.0,
    "other": 100.0,
    # What is asked, never what is told: users read back.
    "read": 100.0,
}

# Requests in 24 hours.
DAILY_LIMITS: Final[Mapping[str, int]] = {"forget": 1_000}

ProjectType: TypeAlias = Literal["email", "user_id", "hybrid"]


class IterableSettings(settings.DestinationSettings):
    """The settings, with Segment's defaults. Unknown names are errors."""

    api_key: SecretStr = Field(description="Server-side API key of the Iterable project.")
    base_url: str = Field(
        default="https://api.iterable.com", description="https://api.eu.iterable.com for projects in the EU."
    )
    bulk: Literal["never", "backlog", "always"] = Field(
        default="backlog", description="When to use the bulk endpoints: backlog is when much waits, as in a first push."
    )
    coalesce: bool = Field(
        default=False, description="Send what several definitions have to say of a user as one request."
    )
    project_type: ProjectType = Field(
        default="email", description="How the Iterable project tells users apart; fixed when it was made."
    )
    prefer_user_id: bool = Field(
        default=True, description="Create users without an email by their userId, where no email is known."
    )
    email_change: Literal["new_user", "update"] = Field(
        default="new_user", description="What a replaced email does in a space with one email a profile."
    )
    merge_nested_objects: bool = Field(
        default=False, description="Merge objects within data fields instead of replacing them."
    )
    send_context: bool = Field(
        default=False, description="Also write app, device, ip, locale, location, page, userAgent and timezone."
    )
    track_all_pages: bool = Field(default=False, description="Send every page and screen call.")
    track_categorized_pages: bool = Field(default=True, description="Send page and screen calls with a category.")
    track_named_pages: bool = Field(default=True, description="Send page and screen calls with a name.")
    map_all_pages_to_single_event_name: bool = Field(
        default=True, description="Name them all 'Loaded a Page' or 'Loaded a Screen'."
    )

    @field_validator("api_key")
    @classmethod
    def _fits_a_header(cls, value: SecretStr) -> SecretStr:
        return settings.header_value(value)

    @field_validator("base_url")
    @classmethod
    def _is_http(cls, value: str) -> str:
        return settings.base_url(value, "https://api.iterable.com")
