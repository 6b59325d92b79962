"""A destination and the server behind it, as plain as can be: what is asked is recorded, what is answered is chosen."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web

from engage_sync.destinations.protocol import (
    Answer,
    Bulk,
    BulkLimits,
    Delivered,
    Outcome,
    Refused,
    Rejected,
    Request,
    Retry,
    Skipped,
    Unauthorized,
    Unclear,
)

KEY = "a-very-secret-key"


@dataclass(frozen=True, kw_only=True)
class PlainDestination:
    """Each call is one request that holds the call, on the budget of its type."""

    base_url: str
    slug: str = "iterable"
    budgets: Mapping[str, float] = field(default_factory=lambda: {"identify": 100_000.0, "track": 100_000.0})
    daily_limits: Mapping[str, int] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=lambda: {"Api-Key": KEY})
    secrets: tuple[str, ...] = (KEY,)
    integration: str | None = "Iterable"
    changes_emails: bool = False
    has_one_user_a_user_id: bool = False
    bulk: Bulk | None = None
    requests_of: Callable[[Mapping[str, Any]], tuple[Request, ...] | Skipped | Refused] | None = None

    def requests(self, call: Mapping[str, Any]) -> tuple[Request, ...] | Skipped | Refused:
        if self.requests_of is not None:
            return self.requests_of(call)
        return (Request(method="POST", path="/" + call["type"], body=dict(call), budget=call["type"]),)

    def signature(self, body: bytes, at: int) -> Mapping[str, str]:
        return {}

    def outcome(self, request: Request, answer: Answer | None) -> Outcome:
        if answer is None:
            return Retry(reason="no answer", unanswered=True)
        if answer.status < 300:
            return Delivered()
        reason = answer.body.decode()
        if answer.status == 401:
            return Unauthorized(reason=reason)
        if answer.status == 429 or answer.status >= 500:
            after = answer.headers.get("retry-after")
            return Retry(reason=reason, after=float(after) if after else None, is_throttled=answer.status == 429)
        return Rejected(reason=reason)


@dataclass(frozen=True, kw_only=True)
class PlainBulk:
    """Requests are joined into `{"entries": […]}`; a 200 that holds JSON lists which entries (by place) it refused."""

    limits: Mapping[str, BulkLimits] = field(
        default_factory=lambda: {"bulk": BulkLimits(most_entries=5, most_bytes=100_000)}
    )
    is_always_used: bool = True

    def budget_of(self, request: Request) -> str | None:
        return "bulk"

    def must_follow(self, request: Request) -> bool:
        return False

    def join(self, requests: Sequence[Request]) -> Request:
        body = {"entries": [request.body for request in requests]}
        return Request(method="POST", path="/bulk", body=body, budget="bulk")

    def outcomes(self, requests: Sequence[Request], answer: Answer | None) -> Sequence[Outcome | Unclear]:
        whole = PlainDestination(base_url="").outcome(requests[0], answer)
        if isinstance(whole, Rejected) and len(requests) > 1:
            return [Unclear(reason=whole.reason)] * len(requests)
        if not isinstance(whole, Delivered) or answer is None or not answer.body:
            return [whole] * len(requests)
        refused = orjson.loads(answer.body)
        return [Rejected(reason="refused") if place in refused else whole for place in range(len(requests))]


@dataclass
class Recorded:
    """A request as it came: `at` and `until` on the monotonic clock."""

    path: str
    body: dict[str, Any]
    at: float
    until: float = 0.0
    raw: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def email(self) -> str:
        email: str = (self.body.get("traits") or self.body["context"]["traits"])["email"]
        return email


@dataclass
class Server:
    """`answer` gives the status and text for a request; None closes the connection without an answer."""

    url: str = ""
    answer: Callable[[Recorded], tuple[int, str] | None] = lambda _: (200, "")
    delay: float = 0.0
    headers: Mapping[str, str] = field(default_factory=dict)
    requests: list[Recorded] = field(default_factory=list)
    in_flight: int = 0

    @property
    def ids(self) -> list[str]:
        return [request.body["messageId"] for request in self.requests]

    async def handle(self, request: web.Request) -> web.Response:
        raw = await request.read()
        recorded = Recorded(
            request.path_qs, orjson.loads(raw), time.monotonic(), raw=raw, headers=request.headers.copy()
        )
        self.requests.append(recorded)
        self.in_flight += 1
        try:
            if self.delay:
                await asyncio.sleep(self.delay)
            answer = self.answer(recorded)
            recorded.until = time.monotonic()
        finally:
            self.in_flight -= 1
        if answer is None:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        return web.Response(status=answer[0], text=answer[1], headers=self.headers)


@asynccontextmanager
async def serving(server: Server) -> AsyncIterator[Server]:
    """The server, listening on a free port of this host."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield server
    finally:
        await runner.cleanup()
