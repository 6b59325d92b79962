"""What can be set for a Segment-compatible destination in engage.yml."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pydantic import Field, SecretStr, field_validator

from engage_sync.destinations import settings

# Requests a second. Segment asks a workspace to stay at or below 1,000 of them, which the two share.
DEFAULT_BUDGETS: Final[Mapping[str, float]] = {"identify": 500.0, "track": 500.0}


class SegmentSettings(settings.DestinationSettings):
    write_key: SecretStr = Field(description="Write key of the source that the calls go into.")
    base_url: str = Field(
        default="https://api.segment.io",
        description="https://events.eu1.segmentapis.com for workspaces in the EU, or the address of another receiver.",
    )
    anonymous_id_from_email: bool = Field(
        default=True,
        description="Give people who are known only by an email an anonymousId made from it, as Segment takes no call"
        " without an id; otherwise their calls are dead letters.",
    )

    @field_validator("write_key")
    @classmethod
    def _fits_a_header(cls, value: SecretStr) -> SecretStr:
        key = settings.header_value(value)
        if ":" in key.get_secret_value():
            raise ValueError("must not have a colon, which ends the user name of Basic authentication")
        return key

    @field_validator("base_url")
    @classmethod
    def _is_http(cls, value: str) -> str:
        return settings.base_url(value, "https://api.segment.io").removesuffix("/v1")
