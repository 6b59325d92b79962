"""What `doctor` looks at: each check says whether it is well, and what to do where it isn't."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, timedelta
from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy.exc import InterfaceError, OperationalError

from engage_sync import clock, errors
from engage_sync.database import embedded, migrate, pipeline
from engage_sync.database import engine as database
from engage_sync.definitions import versions
from engage_sync.definitions.model import DEFAULT_GUARD, DestinationConfig, Guard, Workspace
from engage_sync.definitions.workspace import load_workspace
from engage_sync.destinations import registry
from engage_sync.evaluation import inputs
from engage_sync.ingest import volumes
from engage_sync.outbox import budget, forgetting, outages, workers
from engage_sync.profiles import privacy, suppression
from engage_sync.settings import Settings, environment_of
from engage_sync.sync import erasing, guarding, queues

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
_HELD = text(
    """
    SELECT definitions.key, holds.held_at, holds.status, runs.note,
           holds.status = 'approved' AND computations.error IS NOT NULL AS fails
    FROM holds JOIN definitions ON definitions.id = holds.definition_id AND definitions.deleted_at IS NULL
    JOIN computations ON computations.definition_id = definitions.id
    JOIN runs ON runs.id = holds.run_id
    ORDER BY definitions.key
    """
)
# By the names of their connections (database/engine).
_PROCESSES = text(
    """
    SELECT DISTINCT found[1] AS revision, found[2] AS host, found[3] AS process
    FROM pg_stat_activity,
         regexp_match(application_name, '^engage-sync ([0-9]+) ([^ ]+) ([0-9]+)$') AS found
    WHERE datname = current_database() AND found[1] <> :revision
    ORDER BY host, process
    """
)
_SOURCES = text("SELECT id, slug FROM sources WHERE slug = ANY(CAST(:slugs AS text[]))")
_MINIMUM_VERSION = 150_000
_MAX_DRIFT = 5.0
_LEAST_FREE = 2**30


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
            findings.extend(_database(connection, settings, workspace))
            if workspace and _schema(connection).ok:
                findings.extend(_inputs(connection, workspace))
        engine.dispose()
    except (errors.EngageSyncError, OperationalError, InterfaceError) as failure:
        known = failure if isinstance(failure, errors.EngageSyncError) else database.unavailable(failure)
        findings.append(Finding(check="database", ok=False, detail=str(known)))
    if settings.database_url is None:
        findings.append(_disk(settings))
    for config in workspace.destinations if workspace else ():
        findings.append(_destination(config, workspace.limits if workspace else {}))
    return findings


def _destination(config: DestinationConfig, limits: Mapping[str, int]) -> Finding:
    made = registry.build(config)
    detail = f"{config.type} at {made.base_url}"
    if config.allow is not None:
        detail += f"; allow: only emails of {', '.join(config.allow) or 'no domain'}"
    if made.has_one_user_a_user_id and limits.get("email") != 1:
        detail += (
            "; its users are told apart by userId, which goes along with a person's first email only: people with"
            " several emails need a project of type email, and where nobody has several, say so in engage.yml:"
            " limits: {email: 1}"
        )
    return Finding(check=f"destination {config.slug}", ok=True, detail=detail)


def _disk(settings: Settings) -> Finding:
    free = embedded.free_space(settings.home)
    detail = f"{free / 2**30:,.1f} GB free where the embedded Postgres keeps its data, {settings.home}"
    if free < _LEAST_FREE:
        detail += ": make room there, before it can store nothing more"
    return Finding(check="disk", ok=free >= _LEAST_FREE, detail=detail)


def _database(connection: Connection, settings: Settings, workspace: Workspace | None = None) -> list[Finding]:
    number = int(connection.execute(text("SHOW server_version_num")).scalar_one())
    revision = migrate.current_revision(connection)
    now = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
    drift = abs((clock.now() - now).total_seconds())
    found = [
        Finding(
            check="postgres", ok=number >= _MINIMUM_VERSION, detail=f"version {number // 10000}; 15 or newer is needed"
        ),
        _schema(connection),
        Finding(
            check="clock",
            ok=drift < _MAX_DRIFT,
            detail=f"{drift:.1f} s from the database's; instants are the database's, so nothing depends on it",
        ),
    ]
    if not found[1].ok:
        return found
    found.extend(_old_processes(connection, revision))
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
            check=f"destination {each.destination}",
            ok=False,
            detail=f"the worker with process {each.process} on {each.host} doesn't get through to it, though others do:"
            " what keeps that machine from it? Others send meanwhile what it doesn't",
        )
        for each in workers.cut_off(connection)
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
    found.extend(_held(row) for row in connection.execute(_HELD))
    found.extend(
        Finding(
            check=f"told {row.key}",
            ok=True,
            detail=f"{row.identities:,} identities at {row.slug} wait to be told again (withheld, or an answer was"
            f" lost): engage-sync resync {row.key}",
        )
        for row in connection.execute(_UNKNOWN)
    )
    return [*found, *_privacy(connection, settings, workspace)]


def _schema(connection: Connection) -> Finding:
    revision = migrate.current_revision(connection)
    detail = f"revision {revision}"
    try:
        migrate.require_compatible(connection)
    except errors.EngageSyncError as failure:
        return Finding(check="schema", ok=False, detail=str(failure))
    if migrate.is_newer(connection):
        detail += f", newer than this version's {migrate.head_revision()}, which gets along with it"
    return Finding(check="schema", ok=True, detail=detail)


def _old_processes(connection: Connection, revision: str | None) -> Iterator[Finding]:
    """Processes of another version than the schema's: they go on, and are to be replaced."""
    for row in connection.execute(_PROCESSES, {"revision": revision}):
        yield Finding(
            check="version",
            ok=True,
            detail=f"process {row.process} on {row.host} is made for revision {row.revision}: restart it with the new"
            " version",
        )


def _privacy(connection: Connection, settings: Settings, workspace: Workspace | None) -> list[Finding]:
    """What is left of people who were to be forgotten, and whether they would be known again."""
    key = settings.privacy_key.get_secret_value().encode() if settings.privacy_key is not None else b""
    where = "half of it in ENGAGE_SYNC_PRIVACY_KEY" if key else "all of it in the database"
    try:
        suppression.require_key(connection, key)
        found = [Finding(check="privacy key", ok=True, detail=where)]
    except errors.UsageError as wrong:
        found = [Finding(check="privacy key", ok=False, detail=str(wrong))]
    configured = {config.slug: registry.build(config) for config in (workspace.destinations if workspace else ())}
    lines = queues.lines(connection, configured)
    for each in forgetting.still_open(connection):
        detail = f"{each.waiting:,} identifiers wait to be forgotten there"
        if each.destination in lines:
            detail += f" ({lines[each.destination].lasting} at its limits)"
        if each.is_paused:
            detail += f", and it is paused: engage-sync resume {each.destination}"
        if each.refused:
            detail += f"; {each.refused:,} were refused: engage-sync dead-letters list --destination {each.destination}"
        found.append(
            Finding(check=f"forget {each.destination}", ok=not (each.is_paused or each.refused), detail=detail)
        )
    left = privacy.unfinished(connection, older_than=2 * erasing.ABANDONED_AFTER)
    if left:
        detail = f"{len(left):,} requests to forget somebody aren't finished: `up` goes on, or run forget again"
        found.append(Finding(check="forget", ok=False, detail=detail))
    return found


def _held(row: Any) -> Finding:
    check = f"definition {row.key}"
    if row.fails:
        detail = (
            f"approved, but what writes it failed: engage-sync runs {row.key}; to give it up: engage-sync discard"
            f" {row.key}"
        )
        return Finding(check=check, ok=False, detail=detail)
    since = row.held_at.astimezone(UTC).isoformat(timespec="seconds")
    detail = {
        "held": f"held since {since}: {row.note} Look at engage-sync runs {row.key}; when that is right, engage-sync"
        f" approve {row.key}, else mend its cause and engage-sync discard {row.key}",
        "discarded": "discarded; it is computed anew at the next tick",
        "approved": "approved; what it changes is being written",
    }[row.status]
    return Finding(check=check, ok=row.status != "held", detail=detail)


def _inputs(connection: Connection, workspace: Workspace) -> Iterator[Finding]:
    """The inputs that send less than usual, by the workspace's own guard, and of those that go on, events that do."""
    span = (workspace.guard or Guard()).over(DEFAULT_GUARD).silence
    if not isinstance(span, timedelta):
        return
    slugs = [source.slug for source in workspace.sources]
    known = {row.id: row.slug for row in connection.execute(_SOURCES, {"slugs": slugs})}
    now = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
    silent = set()
    for volume in pipeline.ask(connection, volumes.hearing(known, span, now)):
        if volume.usual is not None and volume.is_silent:
            silent.add(volume.slug)
            yield Finding(
                check=f"source {volume.slug}",
                ok=False,
                detail=f"{guarding.silence(volume, volume.usual)}: does it still send, and with the right write key?"
                " What changes by time alone, and follows from it, is held meanwhile",
            )
    trees = [definition.spec.tree for definition in versions.load(connection)]
    read = {slug: set().union(*(inputs.windowed_events(tree, without=slug) for tree in trees)) for slug in slugs}
    for volume in pipeline.ask(connection, volumes.hearing_of(known, set().union(*read.values()), span, now)):
        is_read = volume.slug not in silent and volume.event in read[volume.slug]
        if is_read and volume.usual is not None and volume.is_silent:
            yield Finding(
                check=f"event {volume.event} of {volume.slug}",
                ok=False,
                detail=f"{guarding.silence(volume, volume.usual)}: is it still tracked, and by this name?"
                " What changes by time alone, and follows from it, is held meanwhile",
            )
