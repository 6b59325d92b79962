"""What `doctor` looks at: each check says whether it is well, and what to do where it isn't."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy.exc import InterfaceError, OperationalError

from engage_sync import clock, errors
from engage_sync.database import engine as database
from engage_sync.database import migrate
from engage_sync.definitions.model import Workspace
from engage_sync.definitions.workspace import load_workspace
from engage_sync.destinations import registry
from engage_sync.outbox import budget, outages
from engage_sync.settings import Settings, environment_of

_UNKNOWN = text(
    """
    SELECT destinations.slug, definitions.key, count(*) AS identities
    FROM told
    JOIN destinations ON destinations.id = told.destination_id
    JOIN definitions ON definitions.id = told.definition_id AND definitions.deleted_at IS NULL
    WHERE told.is_unknown AND told.enqueued IS NULL
    GROUP BY destinations.slug, definitions.key ORDER BY definitions.key, destinations.slug
    """
)
_MINIMUM_VERSION = 150_000
_MAX_DRIFT = 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    check: str
    ok: bool
    detail: str

    def document(self) -> dict[str, Any]:
        return {"check": self.check, "ok": self.ok, "detail": self.detail}


def examine(settings: Settings) -> list[Finding]:
    """All checks; one that fails keeps none of the others from running."""
    findings = []
    workspace: Workspace | None = None
    try:
        workspace = load_workspace(settings.workspace, environment_of(settings.workspace))
        findings.append(Finding(check="workspace", ok=True, detail=f"{len(workspace.definitions)} definitions"))
    except errors.WorkspaceInvalid as invalid:
        findings.append(Finding(check="workspace", ok=False, detail=str(invalid)))
    try:
        engine = database.create_engine(database.database_url(settings), application="engage-sync doctor")
        with engine.connect() as connection:
            findings.extend(_database(connection))
        engine.dispose()
    except (errors.EngageSyncError, OperationalError, InterfaceError) as failure:
        known = failure if isinstance(failure, errors.EngageSyncError) else database.unavailable(failure)
        findings.append(Finding(check="database", ok=False, detail=str(known)))
    for config in workspace.destinations if workspace else ():
        where = registry.build(config).base_url
        allowed = "" if config.allow is None else f"; allow: only emails of {', '.join(config.allow) or 'no domain'}"
        findings.append(
            Finding(check=f"destination {config.slug}", ok=True, detail=f"{config.type} at {where}{allowed}")
        )
    return findings


def _database(connection: Connection) -> list[Finding]:
    number = int(connection.execute(text("SHOW server_version_num")).scalar_one())
    revision, head = migrate.current_revision(connection), migrate.head_revision()
    now = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
    drift = abs((clock.now() - now).total_seconds())
    found = [
        Finding(
            check="postgres", ok=number >= _MINIMUM_VERSION, detail=f"version {number // 10000}; 15 or newer is needed"
        ),
        Finding(
            check="schema",
            ok=revision == head,
            detail=f"revision {revision}" if revision == head else f"{revision}, not {head}: run engage-sync migrate",
        ),
        Finding(
            check="clock",
            ok=drift < _MAX_DRIFT,
            detail=f"{drift:.1f} s from the database's; instants are the database's, so nothing depends on it",
        ),
    ]
    if revision != head:
        return found
    paused = connection.execute(text("SELECT slug, paused_reason FROM destinations WHERE paused_at IS NOT NULL"))
    found.extend(
        Finding(check=f"destination {row.slug}", ok=False, detail=f"paused: {row.paused_reason}") for row in paused
    )
    found.extend(
        Finding(
            check=f"destination {outage.destination}",
            ok=False,
            detail=f"held since {outage.since:%Y-%m-%d %H:%M:%S} UTC, {outage.probes} probes failed: {outage.reason}",
        )
        for outage in outages.current(connection)
    )
    found.extend(
        Finding(
            check=f"rate {each.destination} {each.name}",
            ok=True,
            detail=f"{each.share:.0%} of the limit just now, as the destination complains of too many requests",
        )
        for each in budget.lowered(connection)
    )
    failing = connection.execute(
        text("SELECT key, error FROM computations JOIN definitions ON id = definition_id WHERE error IS NOT NULL")
    )
    found.extend(Finding(check=f"definition {row.key}", ok=False, detail=row.error) for row in failing)
    found.extend(
        Finding(
            check=f"told {row.key}",
            ok=True,
            detail=f"{row.identities:,} identities at {row.slug} wait to be told again (withheld, or an answer was"
            f" lost): engage-sync resync {row.key}",
        )
        for row in connection.execute(_UNKNOWN)
    )
    return found
