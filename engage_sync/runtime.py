"""What every process is made of: settings, workspace, engine, and the ids of sources and destinations.

The light half of the composition root: commands that read or compute need no HTTP server and no scheduler.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import SecretStr
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import InterfaceError, OperationalError

from engage_sync import errors
from engage_sync.database import copies, migrate
from engage_sync.database import engine as database
from engage_sync.definitions.model import DEFAULT_GUARD, DestinationConfig, Guard, Workspace
from engage_sync.definitions.scenarios import Scenario, load_with_scenarios
from engage_sync.definitions.workspace import load_workspace
from engage_sync.destinations import registry
from engage_sync.destinations.allowing import Allowed
from engage_sync.destinations.protocol import Destination, Readable
from engage_sync.destinations.settings import nearest
from engage_sync.evaluation.warehouse import Warehouse
from engage_sync.ingest.sources import ensure_sources
from engage_sync.outbox import destinations_table
from engage_sync.profiles import suppression
from engage_sync.settings import Settings, environment_of
from engage_sync.sync.catalog import Context
from engage_sync.sync.forwarding import Routes

if TYPE_CHECKING:
    from engage_sync.database.listener import Listener
    from engage_sync.delivery.deliverer import Deliverer


_MANY_EMAILS = (
    "setting 'email_change': update is for people with one email; add to engage.yml: limits: {email: 1}"
    " (or set email_change: new_user)"
)


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """One process's parts. `source_ids` and `context.destinations` are ids by slug."""

    settings: Settings
    workspace: Workspace
    engine: Engine
    source_ids: Mapping[str, int]
    context: Context

    def destinations(self) -> dict[str, Destination]:
        """The configured destinations, by slug."""
        return {config.slug: registry.build(config) for config in self.workspace.destinations}


def load(settings: Settings) -> Workspace:
    """The workspace, its destinations' own settings checked too. Raises errors.WorkspaceInvalid with all problems."""
    workspace = load_workspace(settings.workspace, environment_of(settings.workspace))
    _check_settings(workspace)
    return workspace


def load_to_check(settings: Settings) -> tuple[Workspace, tuple[Scenario, ...]]:
    """The same with the workspace's tests, whose mistakes keep nothing from running but themselves."""
    workspace, scenarios = load_with_scenarios(settings.workspace, environment_of(settings.workspace))
    _check_settings(workspace)
    return workspace, scenarios


def load_to_test(settings: Settings, chosen: Sequence[Path] | None) -> tuple[Workspace, tuple[Scenario, ...]]:
    """The workspace and its tests, of all files or the chosen ones, where no secret is at hand, as in CI.

    Raises errors.WorkspaceInvalid with all problems, but those of destinations' own settings: nothing is sent.
    """
    environment = environment_of(settings.workspace)
    return load_with_scenarios(settings.workspace, environment, chosen=chosen, without_secrets=True)


def _check_settings(workspace: Workspace) -> None:
    problems = [problem for config in workspace.destinations for problem in _setting_problems(workspace, config)]
    if problems:
        raise errors.WorkspaceInvalid(problems)


def _setting_problems(workspace: Workspace, config: DestinationConfig) -> list[errors.Problem]:
    """What a destination has against its settings, at the line that names each."""
    lines = (workspace.path / "engage.yml").read_text(encoding="utf-8").splitlines()
    if config.type not in registry.types():
        hint = nearest(config.type, registry.types())
        sentences = [("type", f"unknown type {config.type!r} of destination {config.slug}{hint}")]
    else:
        sentences = registry.settings_problems(config.type, config.settings)
        sentences += registry.rate_limit_problems(config.type, config.rate_limits)
        if not sentences and registry.build(config).changes_emails and workspace.limit("email") != 1:
            sentences = [("email_change", _MANY_EMAILS)]
    start = next((number for number, line in enumerate(lines) if line.strip().startswith(f"{config.slug}:")), 0)
    problems = []
    for name, sentence in sentences:
        places = (
            (number + 1, line.index(f"{name}:") + 1)
            for number, line in enumerate(lines)
            if number >= start and f"{name}:" in line
        )
        line, column = next(places, (start + 1, 1))
        problems.append(errors.Problem(path="engage.yml", line=line, column=column, message=sentence))
    return problems


def connect(settings: Settings) -> Engine:
    """An engine on a database whose schema we can work on. Raises errors.DatabaseUnavailable, errors.SchemaTooNew.

    The embedded server's database and an empty one are brought up to date here; another one is its operator's, who
    runs `engage-sync migrate`.
    """
    engine = database.create_engine(
        database.database_url(settings), pool_size=settings.database_pool, revision=migrate.head_revision() or ""
    )
    try:
        with engine.connect() as connection:
            revision = migrate.current_revision(connection)
        if revision != migrate.head_revision() and (settings.database_url is None or revision is None):
            migrate.upgrade(engine)
        with engine.connect() as connection:
            migrate.require_compatible(connection)
    except (OperationalError, InterfaceError) as failure:
        raise database.unavailable(failure) from failure
    return engine


@contextmanager
def runtime(settings: Settings) -> Iterator[Runtime]:
    """Load the workspace, connect, and make its sources and destinations known to the database.

    Raises errors.DatabaseUnavailable also where the connection is lost in the middle of that.
    """
    workspace = load(settings)
    engine = connect(settings)
    try:
        try:
            with engine.begin() as connection:
                sources, destinations = _make_known(connection, workspace, settings)
        except (OperationalError, InterfaceError) as failure:
            raise database.unavailable(failure) from failure
        yield Runtime(
            settings=settings,
            workspace=workspace,
            engine=engine,
            source_ids=sources,
            context=_context(settings, workspace, sources, destinations),
        )
    finally:
        engine.dispose()


def _make_known(
    connection: Connection, workspace: Workspace, settings: Settings
) -> tuple[dict[str, int], dict[str, int]]:
    """Ids of sources and destinations by slug; a copy's destinations are paused."""
    migrate.ensure_partitions(connection)
    sources = ensure_sources(connection, [source.slug for source in workspace.sources])
    destinations = destinations_table.ensure(connection, [config.slug for config in workspace.destinations])
    suppression.require_key(connection, _privacy_key(settings))
    if copies.is_copy(connection):
        for slug in destinations:
            destinations_table.pause(connection, slug, copies.REASON)
    return sources, destinations


def _routes(workspace: Workspace, sources: Mapping[str, int], destinations: Mapping[str, int]) -> Routes:
    connected = [(slug, config.slug) for config in workspace.destinations for slug in set(config.connected_sources)]
    by_source: dict[int, list[int]] = {}
    for source, destination in sorted(connected):
        by_source.setdefault(sources[source], []).append(destinations[destination])
    changing = [config.slug for config in workspace.destinations if registry.build(config).changes_emails]
    return Routes(sources=by_source, email_changes=[destinations[slug] for slug in changing])


def _context(
    settings: Settings, workspace: Workspace, sources: Mapping[str, int], destinations: Mapping[str, int]
) -> Context:
    stopping = threading.Event()
    warehouse = Warehouse(
        url=settings.warehouse_url or SecretStr(database.database_url(settings)),
        patience=settings.compute_timeout,
        most_rows=settings.sql_rows,
        stopping=stopping,
    )
    built = {destinations[config.slug]: registry.build(config) for config in workspace.destinations}
    return Context(
        destinations=destinations,
        routes=_routes(workspace, sources, destinations),
        alike={number: made.alike for number, made in built.items() if isinstance(made, Readable)},
        guard=(workspace.guard or Guard()).over(DEFAULT_GUARD),
        sources=frozenset(sources.values()),
        rates={number: made.budgets for number, made in built.items()},
        privacy_key=_privacy_key(settings),
        patience=settings.compute_timeout,
        warehouse=warehouse,
        stopping=stopping,
    )


def _privacy_key(settings: Settings) -> bytes:
    return settings.privacy_key.get_secret_value().encode() if settings.privacy_key is not None else b""


def deliverer(parts: Runtime, listener: Listener | None = None, *, only: int | None = None) -> Deliverer:
    """The worker that sends what waits, to everybody or `only` to one profile."""
    from engage_sync.delivery.deliverer import Deliverer

    return Deliverer(
        parts.engine,
        parts.destinations(),
        parts.settings,
        direct_url=database.database_url(parts.settings, direct=True),
        space=parts.workspace.space,
        listener=listener,
        allowed={config.slug: Allowed(config.allow) for config in parts.workspace.destinations},
        only=only,
    )
