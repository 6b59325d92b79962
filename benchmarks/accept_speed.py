"""How fast calls are accepted, beside a bare handler that COPYs the same bodies. Prints rates and their ratio.

    python benchmarks/accept_speed.py [--seconds 5] [--connections 64]

Both servers run in one process each on the same uvicorn (uvloop, httptools), against the same Postgres, one after the
other, in turns; the client is a process of its own that keeps its connections open and sends prepared bytes.

Two bare handlers stand for "the same bodies by COPY", both without a check, a parse, or a look at the key:
  grouped    gathers bodies as we do (2 ms, two commits in flight) and COPYs each as one row: the hardest to reach
  each       COPYs and commits each body on its own, in a thread
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import uvicorn
import uvloop
from prometheus_client import CollectorRegistry
from sqlalchemy import Engine

from engage_sync.api.app import create_app
from engage_sync.api.backlog import Backlog
from engage_sync.api.committer import GroupCommitter
from engage_sync.api.credentials import SourceRef
from engage_sync.api.health import Readiness
from engage_sync.api.metrics import AcceptMetrics
from engage_sync.api.server import listen, server
from engage_sync.database import binary, embedded, migrate
from engage_sync.database.engine import create_engine
from engage_sync.ingest.sources import ensure_sources
from engage_sync.settings import Settings

WRITE_KEY = "write-key"
_ROW = b"\x00\x02\x00\x00\x00\x02\x00\x01"


# --- the bare handlers --------------------------------------------------------------------------------------------


class Bare:
    """An ASGI application that COPYs each body as one row of the inbox, and nothing else."""

    def __init__(self, engine: Engine, *, grouped: bool) -> None:
        self._engine = engine
        self._grouped = grouped
        self._threads = ThreadPoolExecutor(2 if grouped else 16)
        self._waiting: list[tuple[bytes, asyncio.Future[None]]] = []
        self._arrived = asyncio.Event()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        message = await receive()
        body = message.get("body", b"")
        while message.get("more_body"):
            message = await receive()
            body += message.get("body", b"")
        loop = asyncio.get_running_loop()
        if self._grouped:
            stored = loop.create_future()
            self._waiting.append((body, stored))
            self._arrived.set()
            await stored
        else:
            await loop.run_in_executor(self._threads, self._write, [body])
        answer = b'{"success": true}'
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    async def run(self) -> None:
        slots = asyncio.Semaphore(2)
        commits = set()
        while True:
            await self._arrived.wait()
            await asyncio.sleep(0.002)
            await slots.acquire()
            batch, self._waiting = self._waiting, []
            self._arrived.clear()
            commit = asyncio.create_task(self._commit(batch, slots))
            commits.add(commit)
            commit.add_done_callback(commits.discard)

    async def _commit(self, batch: list[tuple[bytes, asyncio.Future[None]]], slots: asyncio.Semaphore) -> None:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._threads, self._write, [body for body, _ in batch])
        slots.release()
        for _, stored in batch:
            stored.set_result(None)

    def _write(self, bodies: list[bytes]) -> None:
        with self._engine.begin() as connection:
            binary.copy(
                connection,
                "COPY inbox (source_id, call) FROM STDIN (FORMAT binary)",
                (_ROW + (len(body) + 1).to_bytes(4, "big") + b"\x01" + body for body in bodies),
            )


# --- the two servers ----------------------------------------------------------------------------------------------


async def _serve_bare(url: str, port: int, *, grouped: bool) -> None:
    bare = Bare(create_engine(url), grouped=grouped)
    served = uvicorn.Server(uvicorn.Config(bare, port=port, lifespan="off", access_log=False, log_config=None))
    gathering = asyncio.create_task(bare.run())
    await served.serve()
    gathering.cancel()


async def _serve_ours(url: str, port: int) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        [source] = ensure_sources(connection, ["web"]).values()
    registry = CollectorRegistry()
    metrics = AcceptMetrics(registry)
    settings = Settings()
    backlog = Backlog(engine, limit=100_000_000)
    committer = GroupCommitter(engine, wait=settings.inbox_wait, backlog=backlog, metrics=metrics)
    app = create_app(
        sources={WRITE_KEY: SourceRef(slug="web", id=source)},
        webhook_sources={},
        accept=committer,
        settings=settings,
        readiness=Readiness(engine),
        metrics=metrics,
        registry=registry,
    )
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(committer.run(stop))
        tasks.create_task(backlog.run(stop))
        await server(app, host="127.0.0.1", port=port).serve(sockets=[listen("127.0.0.1", port)])
        stop.set()


SERVERS: dict[str, Callable[[str, int], Awaitable[None]]] = {
    "ours": _serve_ours,
    "grouped": lambda url, port: _serve_bare(url, port, grouped=True),
    "each": lambda url, port: _serve_bare(url, port, grouped=False),
}


def _serve(kind: str, url: str, port: int) -> None:
    uvloop.run(SERVERS[kind](url, port))  # type: ignore[arg-type]


# --- the client ---------------------------------------------------------------------------------------------------


class _Connection(asyncio.Protocol):
    """Sends the next request as soon as the last was answered."""

    def __init__(self, requests: list[bytes], latencies: list[float]) -> None:
        self._requests = requests
        self._latencies = latencies
        self._number = 0
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self._received.endswith(b'{"success": true}'):
            self._latencies.append(time.perf_counter() - self._began)
            self._send()
        elif not self._received.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"refused: {self._received.decode(errors='replace')}")

    def _send(self) -> None:
        self._received = b""
        self._began = time.perf_counter()
        self._transport.write(self._requests[self._number % len(self._requests)])
        self._number += 1


async def _client(port: int, calls: int, seconds: float, connections: int) -> None:
    loop = asyncio.get_running_loop()
    latencies: list[float] = []
    opened = [
        await loop.create_connection(
            lambda number=number: _Connection(_requests(number, calls), latencies), "127.0.0.1", port
        )  # type: ignore[misc]
        for number in range(connections)
    ]
    await asyncio.sleep(1)  # warm
    latencies.clear()
    began = time.perf_counter()
    await asyncio.sleep(seconds)
    took, measured = time.perf_counter() - began, sorted(latencies)
    for transport, _ in opened:
        transport.abort()
    print(
        json.dumps(
            {
                "calls": len(measured) * calls / took,
                "p50": statistics.median(measured) * 1000,
                "p99": measured[int(len(measured) * 0.99)] * 1000,
            }
        )
    )


def _requests(connection: int, calls: int) -> list[bytes]:
    return [_request(connection * 1000 + number * calls, calls) for number in range(50)]


def _request(first: int, calls: int) -> bytes:
    made = [_call(first + number) for number in range(calls)]
    path, body = ("/v1/track", made[0]) if calls == 1 else ("/v1/batch", {"batch": made})
    encoded = json.dumps(body).encode()
    key = base64.b64encode(f"{WRITE_KEY}:".encode()).decode()
    head = (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Basic {key}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(encoded)}\r\n\r\n"
    )
    return head.encode() + encoded


def _call(number: int) -> dict[str, Any]:
    return {
        "type": "track",
        "messageId": f"message-{number:012d}",
        "userId": f"user-{number % 5000}",
        "event": "Order Completed",
        "timestamp": "2024-05-06T07:08:09.010Z",
        "sentAt": "2024-05-06T07:08:09.050Z",
        "properties": {
            "order_id": f"order-{number}",
            "total": 42.5,
            "currency": "EUR",
            "products": [{"product_id": f"p{item}", "price": 21.25, "quantity": 1} for item in range(2)],
        },
        "context": {"library": {"name": "analytics-python", "version": "2.4.0"}, "ip": "203.0.113.7"},
    }


# --- both sides in one run ----------------------------------------------------------------------------------------


def _measure(kind: str, url: str, calls: int, arguments: argparse.Namespace) -> dict[str, float]:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("TRUNCATE inbox")
        connection.execute("CHECKPOINT")
    listening = listen("127.0.0.1", 0)
    port = listening.getsockname()[1]
    listening.close()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(kind, url, port))
    process.start()
    try:
        _await_port(port)
        client = [sys.executable, __file__, "--client", str(port), "--calls", str(calls)]
        client += ["--seconds", str(arguments.seconds), "--connections", str(arguments.connections)]
        found: dict[str, float] = json.loads(subprocess.run(client, check=True, capture_output=True).stdout)
        return found
    finally:
        process.terminate()
        process.join(20)


def _await_port(port: int) -> None:
    import socket

    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit("the server did not start")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--client", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--calls", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.client:
        uvloop.run(_client(arguments.client, arguments.calls, arguments.seconds, arguments.connections))
        return
    home = Path(tempfile.mkdtemp(prefix="es-bench-"))
    home.chmod(0o755)
    url = os.environ.get("ENGAGE_SYNC_TEST_DATABASE_URL") or embedded.start(home)
    engine = create_engine(url)
    migrate.upgrade(engine)
    engine.dispose()
    try:
        for calls in (1, 20):
            rounds = [
                {kind: _measure(kind, url, calls, arguments) for kind in SERVERS} for _ in range(arguments.rounds)
            ]
            print(f"\n{calls} call(s) a request, {arguments.connections} connections")
            for kind in SERVERS:
                rates = {
                    name: statistics.median(found[kind][name] for found in rounds) for name in ("calls", "p50", "p99")
                }
                print(
                    f"  {kind:8} {rates['calls']:9,.0f} calls/s   p50 {rates['p50']:6.1f} ms,"
                    f" p99 {rates['p99']:6.1f} ms"
                )
            for kind in ("grouped", "each"):
                ratio = statistics.median(found["ours"]["calls"] / found[kind]["calls"] for found in rounds)
                print(f"  ours / bare ({kind}): {ratio:.2f}")
    finally:
        embedded.stop(home)
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    main()
