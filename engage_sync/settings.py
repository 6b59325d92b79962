"""What the environment says. Everything starts with `ENGAGE_SYNC_`; the workspace's `.env` file fills what is unset.

`Settings` is read once, by the composition root, and handed down; no other module reads the environment.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from dotenv import dotenv_values
from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from engage_sync import errors


class Settings(BaseSettings):
    """Every setting, with its default. The README's table is made from these descriptions."""

    model_config = SettingsConfigDict(env_prefix="ENGAGE_SYNC_", extra="ignore", frozen=True)

    database_url: SecretStr | None = Field(
        default=None, description="A Postgres URL (15 or newer). Unset: an embedded server in ENGAGE_SYNC_HOME."
    )
    database_direct_url: SecretStr | None = Field(
        default=None, description="A second URL past a connection pooler, for locks and LISTEN. Unset: the first one."
    )
    home: Path = Field(default=Path(".engage-sync"), description="Where the embedded server keeps its data.")
    workspace: Path = Field(default=Path(), description="The folder with engage.yml; also `-C DIR`.")
    host: str = Field(default="127.0.0.1", description="The address that `up` and `serve` listen on.")
    port: int = Field(default=8090, ge=0, le=65535, description="The port that `up` and `serve` listen on.")
    api_token: SecretStr | None = Field(
        default=None, description="Bearer token of /metrics and the management API; made by `init` where unset."
    )
    privacy_key: SecretStr | None = Field(
        default=None,
        description="Half of the key of the hashes by which suppressed people are recognised; made by `init`. Never"
        " lose or change it. Unset: the whole key is in the database.",
    )
    database_pool: int = Field(default=10, ge=2, le=200, description="Database connections of one process.")
    request_timeout: float = Field(default=10.0, gt=0, le=60, description="Seconds for one request to a destination.")
    # 2,000 a second that are answered within a quarter of a second.
    max_in_flight: int = Field(default=500, ge=1, le=1000, description="Requests of one process under way at once.")
    retry_for: float = Field(
        default=4 * 3600.0, gt=0, description="Seconds after which a message that keeps failing is a dead letter."
    )
    compute_timeout: float = Field(
        default=600.0, gt=0, description="Seconds that evaluating one definition may take before it counts as failed."
    )
    warehouse_url: SecretStr | None = Field(
        default=None, description="A Postgres URL that SQL traits are read from. Unset: engage-sync's own database."
    )
    sql_rows: int = Field(default=5_000_000, ge=1, description="Rows that one SQL trait may give.")
    keep_days: int = Field(
        default=14, ge=1, description="Days that delivered messages, rejects and closed dead letters are kept."
    )
    inbox_wait: float = Field(
        default=0.002, ge=0, le=1, description="Seconds that accepted calls wait for others to share their commit."
    )
    inbox_limit: int = Field(
        default=1_000_000, ge=1000, description="Unresolved calls above which the tracking API answers 429."
    )
    log_level: str = Field(default="INFO", description="DEBUG, INFO, WARNING or ERROR.")
    log_format: str = Field(default="auto", description="auto (console on a terminal, else json), console or json.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        # Only what `load` hands over: the environment is read there, together with the workspace's .env file.
        return (init_settings,)


def environment_of(workspace: Path, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables that hold in a workspace: the process's own, and below them those of its `.env` file."""
    file = workspace / ".env"
    values = {key: value for key, value in dotenv_values(file).items() if value is not None} if file.is_file() else {}
    return {**values, **environment}


def load(workspace: Path | None = None, environment: Mapping[str, str] = os.environ) -> Settings:
    """Settings for the workspace (default: ENGAGE_SYNC_WORKSPACE, else the current folder).

    Raises errors.UsageError naming each variable that doesn't read, without its value.
    """
    folder = workspace or Path(environment.get("ENGAGE_SYNC_WORKSPACE") or ".")
    known = environment_of(folder, environment)
    values = {
        name: known[variable]
        for name in Settings.model_fields
        if (variable := f"ENGAGE_SYNC_{name.upper()}") in known and known[variable] != ""
    }
    values["workspace"] = str(folder)
    try:
        settings = Settings.model_validate(values)
    except ValidationError as invalid:
        lines = [f"ENGAGE_SYNC_{str(error['loc'][0]).upper()}: {error['msg']}" for error in invalid.errors()]
        raise errors.UsageError("\n".join(lines)) from None
    if not settings.home.is_absolute():
        # The data belongs to the workspace, wherever a command is called from.
        settings = settings.model_copy(update={"home": (folder / settings.home).resolve()})
    return settings
