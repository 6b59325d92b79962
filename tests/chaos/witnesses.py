"""`python -m tests.chaos.witnesses PORT…`: one sandbox a port, which also takes the calls of the other destinations.

What it did is the other side's history, so nobody kills it. Beside Iterable's endpoints it has a receiver of Segment's
calls and one of webhooks, which check who sends. They record what they are asked, and meet the same faults.
"""

from __future__ import annotations

import asyncio
import base64
import sys
from typing import Final

import orjson
from aiohttp import web

from engage_sync.destinations.segment.destination import BATCH
from engage_sync.destinations.webhook.signature import HEADER, sign
from engage_sync.sandbox.answers import Failure
from engage_sync.sandbox.endpoints import recorded
from engage_sync.sandbox.records import Record
from engage_sync.sandbox.server import create_app
from engage_sync.sandbox.state import State

HOOK: Final = "/hook"
WRITE_KEY: Final = "the-write-key"
SECRET: Final = "a-secret-of-the-webhook"
_TAKEN: Final = b'{"success": true}'


def application() -> web.Application:
    app = create_app()
    app.add_routes([web.post(BATCH, recorded(_batch)), web.post(HOOK, recorded(_hook))])
    return app


def _batch(state: State, request: web.Request, record: Record) -> bytes | Failure:
    credentials = base64.b64encode(f"{WRITE_KEY}:".encode()).decode()
    return _taken(state, record, is_known=request.headers.get("Authorization") == f"Basic {credentials}")


def _hook(state: State, request: web.Request, record: Record) -> bytes | Failure:
    signature = request.headers.get(HEADER, "")
    at = signature.removeprefix("t=").partition(",")[0]
    is_known = at.isdigit() and sign(SECRET.encode(), record.body, int(at)) == signature
    return _taken(state, record, is_known=is_known)


def _taken(state: State, record: Record, *, is_known: bool) -> bytes | Failure:
    if not is_known:
        return Failure(status=401, code="Unauthorized", message="Not by whom it should be")
    orjson.loads(record.body)
    state.records.act(record)
    return _TAKEN


async def _serve(ports: list[int]) -> None:
    for port in ports:
        runner = web.AppRunner(application(), access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve([int(port) for port in sys.argv[1:]]))
