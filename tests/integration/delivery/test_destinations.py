"""Each kind of destination that has a receiver of its own, over real HTTP: what a receiver checks, and retries."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import time
from types import SimpleNamespace
from typing import Any

from engage_sync.delivery.deliverer import Deliverer
from engage_sync.delivery.report import Report
from engage_sync.destinations import registry
from engage_sync.settings import Settings
from tests.factories.http import Recorded, Server, serving
from tests.factories.outbox import Outbox

SECRET = "a-secret-of-the-webhook"


def until_empty(outbox: Outbox, server: Server, kind: str, settings: Any) -> Report:
    """Deliver to the server as the destination "iterable", which the outbox's messages are for."""

    async def run() -> Report:
        async with serving(server):
            config = SimpleNamespace(slug="iterable", type=kind, settings=settings(server.url), rate_limits={})
            destinations = {"iterable": registry.build(config)}
            deliverer = Deliverer(outbox.engine, destinations, Settings(), direct_url=outbox.url)
            return await deliverer.run_until_empty()

    return asyncio.run(run())


def webhook(url: str) -> dict[str, str]:
    return {"url": f"{url}/hook?v=1", "secret": SECRET}


def segment(url: str) -> dict[str, str]:
    return {"base_url": url, "write_key": "the-write-key"}


def is_signed(request: Recorded) -> bool:
    """What a receiver does, by nothing but the request and the secret."""
    parts = dict(part.split("=", 1) for part in request.headers["Engage-Signature"].split(","))
    expected = hmac.new(SECRET.encode(), f"{parts['t']}.".encode() + request.raw, hashlib.sha256).hexdigest()
    return hmac.compare_digest(parts["v1"], expected) and abs(int(parts["t"]) - time.time()) < 60


def test_webhook_is_signed_at_each_attempt(outbox: Outbox) -> None:
    outbox.waiting_message("ann@x.io")
    outbox.waiting_message("ann@x.io", call_type="track")
    answers = iter([(503, "later"), (200, ""), (204, "")])
    server = Server(answer=lambda _: next(answers))
    report = until_empty(outbox, server, "webhook", webhook)
    assert (report.delivered, report.failed) == (2, 0)
    assert [request.path for request in server.requests] == ["/hook?v=1"] * 3
    assert all(is_signed(request) for request in server.requests)
    first, again, track = (request.body for request in server.requests)
    assert first == again
    assert (first["traits"], first["integrations"]) == (
        {"buyers": True, "email": "ann@x.io"},
        {"All": False, "Webhooks": True},
    )
    assert (track["event"], track["context"]["traits"]) == ("Audience Entered", {"email": "ann@x.io"})


def test_segment_gets_each_call_as_a_batch_with_the_write_key(outbox: Outbox) -> None:
    outbox.waiting_message("ann@x.io")
    outbox.waiting_message("ann@x.io", call_type="track")
    server = Server(answer=lambda _: (200, '{"success": true}'))
    report = until_empty(outbox, server, "segment", segment)
    assert (report.delivered, report.failed) == (2, 0)
    assert {request.path for request in server.requests} == {"/v1/batch"}
    credentials = base64.b64encode(b"the-write-key:").decode()
    assert {request.headers["Authorization"] for request in server.requests} == {f"Basic {credentials}"}
    (identify,), (track,) = (request.body["batch"] for request in server.requests)
    assert (identify["type"], track["type"]) == ("identify", "track")
    assert identify["anonymousId"] == track["anonymousId"]
    # They would tell the receiver to leave out everybody else.
    assert "integrations" not in identify


def test_answer_that_repeats_a_secret_is_kept_without_it(outbox: Outbox) -> None:
    outbox.waiting_message("ann@x.io")
    server = Server(answer=lambda _: (400, f"bad signature for {SECRET}"))
    report = until_empty(outbox, server, "webhook", webhook)
    assert report.failed == 1
    ((reason,),) = outbox.rows("SELECT reason FROM dead_letters")
    assert reason == "400 bad signature for [removed]"
    assert SECRET not in str(outbox.rows("SELECT * FROM dead_letters"))
