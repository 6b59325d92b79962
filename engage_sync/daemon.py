"""The composition root: builds the engine, the workspace's parts and the roles, owns their tasks and their stop.

Nothing is built at import; everything below gets its collaborators as arguments.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta

import structlog
from prometheus_client import CollectorRegistry
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from engage_sync import errors, supervisor, waiting
from engage_sync.api.app import create_app
from engage_sync.api.backlog import Backlog
from engage_sync.api.committer import GroupCommitter
from engage_sync.api.credentials import SourceRef, WebhookSource
from engage_sync.api.health import Readiness
from engage_sync.api.metrics import AcceptMetrics, DatabaseGauges, read_gauges
from engage_sync.api.server import SECONDS_TO_FINISH, listen, server
from engage_sync.database import channels, keeping, migrate
from engage_sync.database import engine as database
from engage_sync.database.listener import Listener
from engage_sync.runtime import Runtime, load, runtime
from engage_sync.runtime import deliverer as build_deliverer
from engage_sync.scheduler import Scheduler
from engage_sync.settings import Settings

log = structlog.get_logger(__name__)

ROLES = ("serve", "schedule", "deliver")
# Each notification wakes whoever listens: nobody to whom it says nothing.
_HEARS: Mapping[str, Sequence[str]] = {
    "serve": (),
    "schedule": (channels.INBOX, channels.TOUCHES),
    "deliver": (channels.OUTBOX,),
}
_DATABASE_RETRY = 2.0
_LOOK_AT_SCHEMA = 2.0


def run(settings: Settings, roles: Collection[str], *, apart: Collection[str] = ()) -> None:
    """Run roles of the daemon until SIGTERM or SIGINT; the whole stop takes less than 20 seconds.

    Those `apart` run as processes of their own, which start and end with this one.
    Waits for the database where it is away. Raises errors.WorkspaceInvalid before anything starts.
    """
    try:
        import uvloop
    except ImportError:
        asyncio.run(_run(settings, roles, apart))
    else:
        uvloop.run(_run(settings, roles, apart))


async def _run(settings: Settings, roles: Collection[str], apart: Collection[str]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    # A mistake in the workspace ends the process at once; a database that is away is waited for.
    load(settings)
    while not stop.is_set():
        try:
            with runtime(settings) as parts:
                await _serve_roles(parts, roles, apart, stop)
            return
        except errors.DatabaseUnavailable as failure:
            log.warning("waiting_for_database", reason=str(failure))
            await waiting.first(stop, seconds=_DATABASE_RETRY)


async def _watch_schema(engine: Engine, stop: asyncio.Event, too_new: list[errors.SchemaTooNew]) -> None:
    """Stop when somebody migrated the database to what this version can't work on; the reason is in `too_new`."""

    def look() -> None:
        with engine.connect() as connection:
            migrate.require_compatible(connection)

    while not stop.is_set():
        try:
            await asyncio.to_thread(look)
        except errors.SchemaTooNew as failure:
            too_new.append(failure)
            stop.set()
        except (errors.DatabaseUnavailable, SQLAlchemyError):
            # Whoever needs it says so.
            pass
        await waiting.first(stop, seconds=_LOOK_AT_SCHEMA)


async def _serve_roles(parts: Runtime, roles: Collection[str], apart: Collection[str], stop: asyncio.Event) -> None:
    """One task group owns every part; the death of one stops the process loudly. A role apart is started again.

    Stop order: the HTTP server takes nothing more, what it took is committed, then the other roles end.
    """
    settings = parts.settings
    direct = database.database_url(settings, direct=True)
    hears = [channel for role in ROLES if role in roles for channel in _HEARS[role]]
    listener = Listener(direct, hears)
    too_new: list[errors.SchemaTooNew] = []
    # Before anybody is told that it has started: who connects from then on waits, and is not refused.
    listening = _listen(settings) if "serve" in roles else None
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_watch_schema(parts.engine, stop, too_new), name="schema")
        tasks.create_task(supervisor.end_with_parent(stop), name="parent")
        if settings.database_url is None:
            tasks.create_task(keeping.keep_running(settings.home, stop), name="embedded server")
        starting = {role: asyncio.Event() for role in apart}
        for role, started in starting.items():
            running = supervisor.keep_running(role, settings.workspace.resolve(), started, stop)
            tasks.create_task(running, name=role)
        if hears:
            tasks.create_task(listener.run(stop), name="listener")
        if listening is not None:
            tasks.create_task(_serve(parts, listening, starting, stop), name="api")
        if "schedule" in roles:
            scheduler = Scheduler(
                parts.engine,
                direct,
                parts.context,
                lookback=parts.workspace.schedule.lookback,
                limits=parts.workspace.limits,
                listener=listener,
                keep=timedelta(days=settings.keep_days),
            )
            tasks.create_task(scheduler.run(stop), name="scheduler")
        if "deliver" in roles:
            deliverer = build_deliverer(parts, listener)
            tasks.create_task(deliverer.run(stop), name="deliverer")
        supervisor.say_started()
        log.info("started", roles=sorted(roles), port=settings.port if "serve" in roles else None)
    if too_new:
        raise too_new[0]
    log.info("stopped")


def _listen(settings: Settings) -> socket.socket:
    try:
        return listen(settings.host, settings.port)
    except OSError as failure:
        raise errors.UsageError(
            f"Port {settings.port} on {settings.host} can't be listened on: {failure.strerror}."
            " Set ENGAGE_SYNC_PORT to a free one."
        ) from failure


async def _serve(
    parts: Runtime, listening: socket.socket, starting: Mapping[str, asyncio.Event], stop: asyncio.Event
) -> None:
    """The HTTP server and the group committer behind it."""
    settings = parts.settings
    registry_ = CollectorRegistry()
    registry_.register(DatabaseGauges(parts.engine, read_gauges))
    metrics = AcceptMetrics(registry_)
    backlog = Backlog(parts.engine, limit=settings.inbox_limit)
    committer = GroupCommitter(parts.engine, wait=settings.inbox_wait, backlog=backlog, metrics=metrics)
    app = create_app(
        sources=_by_write_key(parts),
        webhook_sources=_webhook_sources(parts),
        accept=committer,
        settings=settings,
        readiness=Readiness(parts.engine, starting),
        metrics=metrics,
        registry=registry_,
    )
    http = server(app, host=settings.host, port=settings.port)
    served = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(committer.run(served), name="group committer")
        tasks.create_task(backlog.run(served), name="backlog")
        serving = tasks.create_task(http.serve(sockets=[listening]), name="http")
        await stop.wait()
        http.should_exit = True
        await asyncio.wait({serving}, timeout=SECONDS_TO_FINISH + 1)
        served.set()


def _by_write_key(parts: Runtime) -> dict[str, SourceRef]:
    return {
        source.write_key.get_secret_value(): SourceRef(slug=source.slug, id=parts.source_ids[source.slug])
        for source in parts.workspace.sources
        if source.write_key is not None
    }


def _webhook_sources(parts: Runtime) -> dict[str, WebhookSource]:
    return {
        source.slug: WebhookSource(
            source=SourceRef(slug=source.slug, id=parts.source_ids[source.slug]), secret=source.secret
        )
        for source in parts.workspace.sources
        if source.type == "iterable" and source.secret is not None
    }
