"""A real server for tests: uvicorn in a thread, on a free port, over the test's own database."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from fastapi import APIRouter
from prometheus_client import CollectorRegistry
from pydantic import SecretStr
from sqlalchemy import Engine

from engage_sync.api.app import create_app
from engage_sync.api.backlog import Backlog
from engage_sync.api.committer import GroupCommitter
from engage_sync.api.credentials import SourceRef, WebhookSource
from engage_sync.api.health import Readiness
from engage_sync.api.metrics import AcceptMetrics, DatabaseGauges, read_gauges
from engage_sync.api.server import listen, server
from engage_sync.ingest.sources import ensure_sources
from engage_sync.settings import Settings

WRITE_KEY = "web-write-key"
TOKEN = "operator-token"
SECRET = "webhook-secret"


@dataclass(kw_only=True)
class Serving:
    """A running server. `backlog` looks only when a test tells it to."""

    url: str
    engine: Engine
    sources: dict[str, SourceRef]
    backlog: Backlog
    committer: GroupCommitter


@contextmanager
def serving(
    engine: Engine, *, inbox_limit: int = 1_000_000, seconds_to_commit: float = 10.0, routers: Sequence[APIRouter] = ()
) -> Iterator[Serving]:
    """Serve until the block ends; then stop as the daemon does: the server first, the committer after it."""
    with engine.begin() as connection:
        ids = ensure_sources(connection, ["web", "shop", "iterable_events"])
    sources = {
        WRITE_KEY: SourceRef(slug="web", id=ids["web"]),
        "shop-write-key": SourceRef(slug="shop", id=ids["shop"]),
    }
    webhook_source = SourceRef(slug="iterable_events", id=ids["iterable_events"])
    registry = CollectorRegistry()
    metrics = AcceptMetrics(registry)
    registry.register(DatabaseGauges(engine, read_gauges))
    backlog = Backlog(engine, limit=inbox_limit)
    committer = GroupCommitter(
        engine, wait=0.002, backlog=backlog, metrics=metrics, seconds_to_commit=seconds_to_commit
    )
    app = create_app(
        sources=sources,
        webhook_sources={"iterable_events": WebhookSource(source=webhook_source, secret=SecretStr(SECRET))},
        accept=committer,
        settings=Settings(api_token=SecretStr(TOKEN)),
        readiness=Readiness(engine),
        metrics=metrics,
        registry=registry,
        routers=routers,
    )
    listening = listen("127.0.0.1", 0)
    served = server(app, host="127.0.0.1", port=0)

    async def serve() -> None:
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(committer.run(stop))
            await served.serve(sockets=[listening])
            stop.set()

    thread = threading.Thread(target=asyncio.run, args=(serve(),), name="server")
    thread.start()
    try:
        yield Serving(
            url=f"http://127.0.0.1:{listening.getsockname()[1]}",
            engine=engine,
            sources=sources,
            backlog=backlog,
            committer=committer,
        )
    finally:
        served.should_exit = True
        thread.join(20)
        listening.close()
        assert not thread.is_alive()
