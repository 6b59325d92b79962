"""A source, a sandbox, and all that lies between them: calls come in, are resolved, computed and delivered."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import orjson
from sqlalchemy import Engine, text

from engage_sync.definitions import versions
from engage_sync.definitions.model import DefinitionSpec
from engage_sync.delivery.deliverer import Deliverer
from engage_sync.delivery.report import Report
from engage_sync.destinations import registry
from engage_sync.destinations.allowing import Allowed
from engage_sync.ingest import accept, inbox
from engage_sync.ingest.sources import ensure_sources
from engage_sync.outbox import destinations_table
from engage_sync.sandbox.server import SandboxServer
from engage_sync.settings import Settings
from engage_sync.snapshots.runs import Cause
from engage_sync.sync import compute
from engage_sync.sync.catalog import Context
from engage_sync.sync.forwarding import Routes
from engage_sync.sync.ingest import ResolveReport, resolve_inbox


class Shop:
    """The source `web` is connected to the destination `iterable`; `app` is not."""

    def __init__(
        self, engine: Engine, url: str, sandbox: SandboxServer, *, limits: dict[str, int] | None = None, **settings: Any
    ) -> None:
        self.engine, self.url, self.sandbox, self.limits = engine, url, sandbox, limits or {}
        config = SimpleNamespace(
            slug="iterable",
            type="iterable",
            settings={"api_key": sandbox.options.api_key, "base_url": sandbox.url, **settings},
            rate_limits={},
        )
        self.destination = registry.build(config)
        with engine.begin() as connection:
            self.sources = ensure_sources(connection, ["web", "app"])
            ids = destinations_table.ensure(connection, ["iterable"])
        self.context = Context(destinations=ids, routes=self._routes(ids["iterable"]))

    def _routes(self, iterable: int) -> Routes:
        changing = [iterable] if self.destination.changes_emails else []
        return Routes(sources={self.sources["web"]: [iterable]}, email_changes=changing)

    # --- what is done -------------------------------------------------------------------------------------------

    def apply(self, *specs: DefinitionSpec) -> None:
        with self.engine.begin() as connection:
            versions.apply(connection, specs)

    def send(self, *calls: dict[str, Any], source: str = "web") -> None:
        """Calls are accepted."""
        with self.engine.begin() as connection:
            accepted = [accept.normalise(accept.parse(orjson.dumps(call))) for call in calls]
            inbox.store(connection, self.sources[source], accepted)

    def resolve(self) -> ResolveReport:
        return resolve_inbox(self.engine, self.limits, routes=self.context.routes)

    def compute(self) -> None:
        reports = compute.compute(self.engine, self.context, None, cause=Cause.MANUAL)
        assert [report.error for report in reports if report.error] == []

    def deliver(self, *, allow: Sequence[str] | None = None, **settings: Any) -> Report:
        made = Deliverer(
            self.engine,
            {"iterable": self.destination},
            Settings(**settings),
            direct_url=self.url,
            allowed={"iterable": Allowed(allow)},
        )
        return asyncio.run(made.run_until_empty())

    def deliver_once(self, **settings: Any) -> Report:
        """What is due now, and no more."""
        made = Deliverer(self.engine, {"iterable": self.destination}, Settings(**settings), direct_url=self.url)
        return asyncio.run(made.run_once())

    def process(self, *calls: dict[str, Any]) -> Report:
        """Calls come in, and what follows from them is told."""
        self.send(*calls)
        self.resolve()
        self.compute()
        return self.deliver()

    # --- what is so ---------------------------------------------------------------------------------------------

    def said(self) -> list[tuple[str, Any]]:
        """What the sandbox was asked, in order: the last part of the path, and what says most of the body."""
        return [(each["path"].rpartition("/")[2], _gist(each["body"])) for each in self.sandbox.requests()]

    def waiting(self) -> list[tuple[str, str, Any]]:
        """What waits: identity, call type and value."""
        return self.rows("SELECT identity_value, call_type, value FROM messages ORDER BY id")

    def dead_letters(self) -> list[tuple[Any, ...]]:
        return self.rows("SELECT identity_value, call_type, value, reason FROM dead_letters ORDER BY id")

    def rows(self, statement: str, **given: Any) -> list[tuple[Any, ...]]:
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(statement), given)]


def _gist(body: dict[str, Any]) -> Any:
    if "newEmail" in body:
        return body.get("currentEmail") or body.get("currentUserId"), body["newEmail"]
    who = body.get("user", body)
    named = who.get("email") or who.get("userId")
    if "eventName" in body:
        return named, body["eventName"]
    if "items" in body:
        return named, [item["name"] for item in body["items"]]
    fields: dict[str, Any] = {name: value for name, value in body.get("dataFields", {}).items() if name != "email"}
    return named, fields


def identify(user: str | None, email: str | None = None, /, **traits: Any) -> dict[str, Any]:
    return {"type": "identify", "userId": user, "traits": {**({"email": email} if email else {}), **traits}}


def track(event: str, user: str | None = None, /, email: str | None = None, **more: Any) -> dict[str, Any]:
    context = {"context": {"traits": {"email": email}}} if email else {}
    return {"type": "track", "event": event, "userId": user, **context, **more}


def products(*names: str) -> Sequence[dict[str, Any]]:
    return [{"product_id": name, "name": name, "price": 5, "quantity": 1} for name in names]
