"""What comes back of a request, whatever the other side does to the connection; over real sockets."""

from __future__ import annotations

import asyncio
import gzip
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest

from engage_sync.delivery.transport import NoAnswer, Transport
from engage_sync.destinations.protocol import Answer, Destination, Request

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
REQUEST = Request(method="POST", path="/api/users/update", body={"email": "ann@x.io"}, budget="identify")
BODY = b'{"email":"ann@x.io"}'


async def read(reader: asyncio.StreamReader) -> tuple[str, dict[str, str], bytes]:
    """One request: its first line, its headers, its body."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *lines = head.strip().split("\r\n")
    named = [(name.lower(), value) for name, _, value in (line.partition(": ") for line in lines)]
    headers = dict(named)
    assert len(headers) == len(named), named
    return first, headers, await reader.readexactly(int(headers.get("content-length", 0)))


def answer(body: bytes = b"{}", status: str = "200 OK", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", *(f"{name}: {headers[name]}" for name in headers)]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@asynccontextmanager
async def served(handler: Handler) -> AsyncIterator[int]:
    async def ended(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(ended, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def destination(port: int, **headers: str) -> Destination:
    own = {"Api-Key": "k", "Content-Type": "application/json", **headers}
    made = SimpleNamespace(slug="iterable", base_url=f"http://127.0.0.1:{port}", headers=own)
    return cast(Destination, made)


async def sent(transport: Transport, port: int, seconds: float = 5.0) -> Answer | NoAnswer:
    return await transport.send(destination(port), REQUEST, BODY, seconds)


def outcome(handler: Handler, seconds: float = 5.0) -> Answer | NoAnswer:
    """What one request to a server comes to."""

    async def main() -> Answer | NoAnswer:
        transport = Transport()
        async with served(handler) as port:
            try:
                return await sent(transport, port, seconds)
            finally:
                await transport.close()

    return asyncio.run(main())


def test_a_request_goes_out_whole_and_its_answer_comes_back() -> None:
    seen: list[Any] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await read(reader))
        writer.write(answer(b'{"code":"Success"}', **{"Retry-After": "3"}))

    found = outcome(handler)
    assert isinstance(found, Answer)
    assert (found.status, found.body, found.headers["retry-after"]) == (200, b'{"code":"Success"}', "3")
    [(first, headers, body)] = seen
    assert (first, body) == ("POST /api/users/update HTTP/1.1", BODY)
    assert (headers["api-key"], headers["content-type"]) == ("k", "application/json")
    assert headers["user-agent"].startswith("engage-sync/")


def test_a_compressed_answer_is_read() -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read(reader)
        writer.write(answer(gzip.compress(b"plain"), **{"content-encoding": "gzip"}))

    found = outcome(handler)
    assert isinstance(found, Answer)
    assert found.body == b"plain"


def test_a_redirect_is_an_answer() -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read(reader)
        writer.write(answer(status="302 Found", location="http://127.0.0.1:1/"))

    found = outcome(handler)
    assert isinstance(found, Answer)
    assert found.status == 302


async def _reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read(reader)
    writer.transport.abort()


async def _close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read(reader)


async def _close_unread(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def _half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read(reader)
    writer.write(answer(b"x" * 100)[:-50])


async def _nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read(reader)
    writer.write(b"what?\r\n\r\n")


@pytest.mark.parametrize("handler", [_reset, _close, _close_unread, _half, _nonsense])
def test_what_may_have_arrived_counts_as_sent(handler: Handler) -> None:
    found = outcome(handler)
    assert isinstance(found, NoAnswer)
    assert found.sent
    assert found.reason.startswith("no answer: ")
    assert "127.0.0.1" not in found.reason


def test_a_connection_that_was_never_made_sent_nothing(free_port: int) -> None:
    async def main() -> Answer | NoAnswer:
        return await sent(Transport(), free_port)

    found = asyncio.run(main())
    assert found == NoAnswer(sent=False, reason="no answer: Connection refused (os error 111)")


def test_the_limit_holds_for_the_whole_and_ends_the_connection() -> None:
    gone = asyncio.Event()
    lasted = 0.0

    async def drips(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal lasted
        await read(reader)
        began = time.monotonic()
        writer.write(answer(b"x" * 1_000)[:-1_000])
        try:
            while not reader.at_eof():
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.05)
        finally:
            lasted = time.monotonic() - began
            gone.set()

    async def main() -> Answer | NoAnswer:
        transport = Transport()
        async with served(drips) as port:
            found = await sent(transport, port, 0.5)
            await asyncio.wait_for(gone.wait(), 10)
            return found

    assert asyncio.run(main()) == NoAnswer(sent=True, reason="no answer within 0 seconds")
    assert 0.4 < lasted < 5


def test_a_request_whose_sender_was_cancelled_ends_at_its_limit() -> None:
    arrived, gone = asyncio.Event(), asyncio.Event()

    async def hangs(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await read(reader)
        arrived.set()
        await reader.read()
        gone.set()

    async def main() -> None:
        transport = Transport()
        async with served(hangs) as port:
            sending = asyncio.create_task(sent(transport, port, 1.0))
            await arrived.wait()
            sending.cancel()
            await asyncio.wait_for(gone.wait(), 10)

    asyncio.run(main())


def test_connections_are_kept_and_one_that_closed_is_not_used_again() -> None:
    requests = [0]
    connections = [0]

    async def twice(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Two answers, then it closes."""
        connections[0] += 1
        for _ in range(2):
            await read(reader)
            requests[0] += 1
            writer.write(answer())

    async def main() -> list[Answer | NoAnswer]:
        transport = Transport()
        found = []
        async with served(twice) as port:
            for _ in range(6):
                found.append(await sent(transport, port))
                await asyncio.sleep(0.05)
        return found

    assert all(isinstance(each, Answer) for each in asyncio.run(main()))
    assert (requests, connections) == ([6], [3])


def test_the_environments_proxies_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read(reader)
        writer.write(answer())

    assert isinstance(outcome(handler), Answer)


def test_a_header_that_cannot_be_sent_is_no_crash(free_port: int) -> None:
    async def main() -> Answer | NoAnswer:
        return await Transport().send(destination(free_port, **{"X-Bad": "a\nb"}), REQUEST, BODY, 5.0)

    found = asyncio.run(main())
    assert isinstance(found, NoAnswer)
    assert not found.sent
