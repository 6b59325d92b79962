"""What can be set for an Iterable destination in engage.yml."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

# Requests a second and project. Iterable states those of identify, track and forget. For commerce and email changes it
# states none, so they stay at or below the rate of users/update, which both of them imply on Iterable's side.
DEFAULT_BUDGETS: Final[Mapping[str, float]] = {
    "identify": 500.0,
    "track": 2000.0,
    "commerce": 500.0,
    "forget": 3.0,
    "other": 100.0,
    # What is asked, never what is told: users read back.
    "read": 100.0,
}

ProjectType: TypeAlias = Literal["email", "user_id", "hybrid"]


class IterableSettings(BaseModel):
    """The settings, with Segment's defaults. Unknown names are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    api_key: SecretStr = Field(description="Server-side API key of the Iterable project.")
    base_url: str = Field(
        default="https://api.iterable.com", description="https://api.eu.iterable.com for projects in the EU."
    )
    bulk: Literal["never", "backlog", "always"] = Field(
        default="backlog", description="When to use the bulk endpoints."
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
        key = value.get_secret_value().strip()
        if not key:
            raise ValueError("must not be empty")
        if not (key.isascii() and key.isprintable()):
            raise ValueError("must be printable ASCII, as it travels in a header")
        return SecretStr(key)

    @field_validator("base_url")
    @classmethod
    def _is_http(cls, value: str) -> str:
        url = value.strip().rstrip("/")
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("must be a URL such as https://api.iterable.com")
        if parts.query or parts.fragment:
            raise ValueError("must not have a query or a fragment")
        return url


def read_settings(settings: Mapping[str, Any]) -> IterableSettings:
    """The settings of a configuration; pydantic's ValidationError when `settings_problems` would name any."""
    return IterableSettings.model_validate(_plain(settings))


def settings_problems(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What is wrong with the settings: name and a sentence each, with the nearest known name, and never a value."""
    known = IterableSettings.model_fields
    problems = [(str(name), _unknown(str(name), list(known))) for name in settings if name not in known]
    try:
        IterableSettings.model_validate({name: value for name, value in _plain(settings).items() if name in known})
    except ValidationError as invalid:
        for error in invalid.errors(include_url=False, include_input=False):
            name = str(error["loc"][0])
            problems.append((name, _sentence(name, error["type"], error["msg"])))
    return problems


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    # Any value may have come out of an environment variable, and is then wrapped as a secret.
    return {
        name: value.get_secret_value() if isinstance(value, SecretStr) else value for name, value in settings.items()
    }


def _unknown(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known settings: {', '.join(known)}"
    return f"unknown setting {name!r}; {hint}"


def _sentence(name: str, kind: str, message: str) -> str:
    if kind == "missing":
        return f"setting {name!r} is missing"
    return f"setting {name!r}: {message.removeprefix('Value error, ')}"
