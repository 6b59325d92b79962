"""What can be set for a webhook in engage.yml."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pydantic import Field, SecretStr, field_validator

from engage_sync.destinations import settings

# Requests a second: what a small service of one's own stands, and no more than that.
DEFAULT_BUDGETS: Final[Mapping[str, float]] = {"identify": 50.0, "track": 50.0}
# Below this a secret can be guessed from a signed body.
SHORTEST_SECRET: Final = 16


class WebhookSettings(settings.DestinationSettings):
    url: str = Field(description="Where each call is POSTed to. It is shown and logged: keep secrets out of it.")
    secret: SecretStr = Field(
        description=f"What signatures are made with, at least {SHORTEST_SECRET} characters; the receiver has it too."
    )

    @field_validator("url")
    @classmethod
    def _is_http(cls, value: str) -> str:
        return settings.web_address(value, "https://hooks.example.com/engage")

    @field_validator("secret")
    @classmethod
    def _is_long(cls, value: SecretStr) -> SecretStr:
        secret = value.get_secret_value().strip()
        if len(secret) < SHORTEST_SECRET:
            raise ValueError(f"must have at least {SHORTEST_SECRET} characters")
        return SecretStr(secret)
