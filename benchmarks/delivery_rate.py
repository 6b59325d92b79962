"""How well a destination's rate is held, and how fast delivery is without one.

    python benchmarks/delivery_rate.py [--seconds 10] [--rates 500,2000,0] [--workers 1,2] [--latency-ms 20]
    python benchmarks/delivery_rate.py --idle 500

The destination is Iterable's, behind it a bare server in a process of its own that notes when each request came; each
worker is a process of its own. Printed: the mean, and the most requests in any second that begins at a request, both
as a share of the limit. Rate 0 is "no limit": the requests a second of which delivery itself is capable; beside it what
one process reaches that only sends, by the same transport. `--idle`: so many messages, each enqueued while nothing else
waits; how long from its commit to its request's arrival.
"""

from __future__ import annotations

import argparse
import asyncio
import bisect
import multiprocessing
import os
import random
import shutil
import statistics
import tempfile
import time
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace

import orjson
import uvloop
from sqlalchemy import Engine, text

from engage_sync.database import embedded, migrate
from engage_sync.database.engine import create_engine
from engage_sync.delivery.deliverer import Deliverer
from engage_sync.delivery.transport import Transport
from engage_sync.destinations import registry
from engage_sync.outbox import destinations_table, enqueue
from engage_sync.outbox.enqueue import NewMessage, Priority
from engage_sync.settings import Settings

_UNLIMITED = 1_000_000.0
# Between two messages of an idle queue, in seconds.
_IDLE_FOR = 0.1
_ANSWER = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 18\r\n\r\n{"code":"Success"}'


# --- the server ---------------------------------------------------------------------------------------------------


class _Server(asyncio.Protocol):
    """Answers every request with success, and appends its arrival to `arrivals`."""

    def __init__(self, arrivals: list[float], latency: float) -> None:
        self._arrivals = arrivals
        self._latency = latency
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head = self._received[:end].lower()
            start = head.index(b"content-length:") + 15
            length = int(head[start : head.find(b"\r", start) if b"\r" in head[start:] else None])
            if len(self._received) < end + 4 + length:
                return
            self._received = self._received[end + 4 + length :]
            self._arrivals.append(time.monotonic())
            asyncio.get_running_loop().call_later(self._latency, self._transport.write, _ANSWER)


def _serve(pipe: Connection, latency: float) -> None:
    async def main() -> None:
        arrivals: list[float] = []
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Server(arrivals, latency), "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        while (asked := await asyncio.to_thread(pipe.recv)) != "stop":
            if asked == "clear":
                arrivals.clear()
            pipe.send(list(arrivals))

    uvloop.run(main())


# --- the workers --------------------------------------------------------------------------------------------------


def _config(port: int, rate: float) -> SimpleNamespace:
    return SimpleNamespace(
        slug="iterable",
        type="iterable",
        settings={"api_key": "k" * 32, "base_url": f"http://127.0.0.1:{port}", "bulk": "never"},
        rate_limits={"identify": rate or _UNLIMITED},
    )


def _deliver(url: str, port: int, rate: float, in_flight: int, stop_at: float) -> None:
    async def main() -> None:
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(max(0.0, stop_at - time.time()), stop.set)
        engine = create_engine(url)
        settings = Settings(max_in_flight=in_flight)
        deliverer = Deliverer(engine, {"iterable": registry.build(_config(port, rate))}, settings, direct_url=url)
        await deliverer.run_until_empty(stop=stop)
        engine.dispose()

    uvloop.run(main())


def fill(engine: Engine, people: int, priority: Priority = Priority.TICK) -> None:
    """One identify waits for each of so many people, and nothing else is there."""
    with engine.begin() as connection:
        destination = destinations_table.ensure(connection, ["iterable"])["iterable"]
        connection.execute(text("TRUNCATE messages, lanes, told, delivered, identities, profiles, rate_budgets"))
        connection.execute(
            text(
                """
                INSERT INTO definitions (public_id, kind, key, version, enabled)
                VALUES ('aud_benchmark', 'audience', 'benchmark', 1, true) ON CONFLICT DO NOTHING
                """
            )
        )
        given = {"people": people, "destination": destination, "priority": int(priority)}
        for statement in _PEOPLE:
            connection.execute(text(statement), given)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE messages, lanes, told, identities"))


_PEOPLE = (
    "INSERT INTO profiles (public_id) SELECT 'use_' || n FROM generate_series(1, :people) AS n",
    "INSERT INTO identities (profile_id, type, value) SELECT id, 'email', 'p' || id || '@x.io' FROM profiles",
    """
    INSERT INTO told (identity_value, identity_type, destination_id, definition_id, call_type, profile_id, version,
                      enqueued)
    SELECT value, 'email', :destination, definitions.id, 'identify', profile_id, 1, 'true' FROM identities, definitions
    """,
    """
    INSERT INTO messages (destination_id, profile_id, definition_id, definition_version, run_id, identity_type,
                          identity_value, call_type, value, told_version, as_of)
    SELECT :destination, profile_id, definitions.id, 1, 1, 'email', value, 'identify', 'true', 1, now()
    FROM identities, definitions
    """,
    """
    INSERT INTO lanes (profile_id, destination_id, priority)
    SELECT id, :destination, CAST(:priority AS smallint) FROM profiles
    """,
)


def _bare(port: int, in_flight: int, seconds: float) -> None:
    """Requests alone, by the same transport: nothing is claimed, kept in order or written down."""

    async def main() -> None:
        destination = registry.build(_config(port, 0))
        (request,) = destination.requests({"type": "identify", "traits": {"email": "p1@x.io", "benchmark": True}})
        body, transport = orjson.dumps(request.body), Transport()
        until = time.monotonic() + seconds

        async def one_after_the_other() -> None:
            while time.monotonic() < until:
                await transport.send(destination, request, body, 10.0)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(in_flight):
                tasks.create_task(one_after_the_other())
        await transport.close()

    uvloop.run(main())


# --- measuring ----------------------------------------------------------------------------------------------------


def _measure(url: str, port: int, pipe: Connection, rate: float, workers: int, seconds: float, in_flight: int) -> None:
    engine = create_engine(url)
    fill(engine, int((rate or 6000) * (seconds + 2)))
    engine.dispose()
    pipe.send("clear")
    pipe.recv()
    # Interpreters start before the clock runs.
    stop_at = time.time() + seconds + 2.0
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_deliver, args=(url, port, rate, in_flight, stop_at)) for _ in range(workers)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    limit = f"{rate:.0f}/s" if rate else "no limit"
    _show(pipe, f"{limit:>9}  {workers} workers", rate)


def _compare(port: int, pipe: Connection, seconds: float, in_flight: int) -> None:
    pipe.send("clear")
    pipe.recv()
    bare = multiprocessing.get_context("spawn").Process(target=_bare, args=(port, in_flight, seconds))
    bare.start()
    bare.join()
    _show(pipe, "requests alone, 1 process", 0)


def _idle(url: str, port: int, pipe: Connection, messages: int) -> None:
    """Enqueue now and then, and see when the request comes."""
    engine = create_engine(url)
    fill(engine, messages)
    with engine.begin() as connection:
        profiles = connection.execute(text("SELECT id FROM profiles ORDER BY id")).scalars().all()
        definition = connection.execute(text("SELECT id FROM definitions WHERE key = 'benchmark'")).scalar_one()
        destination = connection.execute(text("SELECT id FROM destinations WHERE slug = 'iterable'")).scalar_one()
        connection.execute(text("TRUNCATE messages, lanes"))
    stop_at = time.time() + 3 + messages * _IDLE_FOR
    worker = multiprocessing.get_context("spawn").Process(target=_stay, args=(url, port, stop_at))
    worker.start()
    time.sleep(3)
    pipe.send("clear")
    pipe.recv()
    enqueued: list[float] = []
    for profile in profiles:
        message = NewMessage(
            definition_id=definition,
            definition_version=1,
            run_id=1,
            destination_id=destination,
            profile_id=profile,
            identity_type="email",
            identity_value=f"p{profile}@x.io",
            call_type="identify",
            value="true",
            told_version=1,
        )
        with engine.begin() as connection:
            enqueue.append(connection, [message], as_of=datetime.now(UTC), priority=Priority.REALTIME)
        enqueued.append(time.monotonic())
        time.sleep(random.uniform(0.5, 1.0) * _IDLE_FOR)
    pipe.send("times")
    times: list[float] = sorted(pipe.recv())
    worker.join()
    engine.dispose()
    waits = [(came - began) * 1000 for began, came in zip(enqueued, times, strict=True)]
    cuts = statistics.quantiles(waits, n=100)
    print(
        f"idle queue, {messages} messages: p50 {cuts[49]:.1f} ms, p99 {cuts[98]:.1f} ms, longest {max(waits):.1f} ms",
        flush=True,
    )


def _stay(url: str, port: int, stop_at: float) -> None:
    """A worker that waits for what comes."""

    async def main() -> None:
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(max(0.0, stop_at - time.time()), stop.set)
        engine = create_engine(url)
        deliverer = Deliverer(engine, {"iterable": registry.build(_config(port, 500))}, Settings(), direct_url=url)
        await deliverer.run(stop)
        engine.dispose()

    uvloop.run(main())


def _show(pipe: Connection, what: str, rate: float) -> None:
    pipe.send("times")
    times: list[float] = sorted(pipe.recv())
    # The first half second is starting up, and stopping is left out too.
    first, last = times[0] + 0.5, times[-1] - 0.1
    steady = [moment for moment in times if first <= moment < last]
    mean = len(steady) / (last - first)
    worst = max(bisect.bisect_left(times, moment + 1.0) - number for number, moment in enumerate(times))
    share = f"mean {mean / rate:6.1%}, worst second {worst / rate:6.1%}" if rate else ""
    print(f"{what}  {mean:7.0f}/s  {share}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rates", default="500,2000,0")
    parser.add_argument("--workers", default="1,2")
    parser.add_argument("--latency-ms", type=float, default=20)
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--idle", type=int, default=0)
    arguments = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="es-bench-"))
    home.chmod(0o755)
    url = os.environ.get("ENGAGE_SYNC_TEST_DATABASE_URL") or embedded.start(home)
    engine = create_engine(url)
    migrate.upgrade(engine)
    engine.dispose()
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(
        target=_serve, args=(theirs, arguments.latency_ms / 1000), daemon=True
    )
    server.start()
    port = ours.recv()
    try:
        if arguments.idle:
            _idle(url, port, ours, arguments.idle)
            return
        for rate in arguments.rates.split(","):
            for workers in arguments.workers.split(","):
                _measure(url, port, ours, float(rate), int(workers), arguments.seconds, arguments.in_flight)
        _compare(port, ours, arguments.seconds, arguments.in_flight)
    finally:
        ours.send("stop")
        server.join(2)
        embedded.stop(home)
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    main()
