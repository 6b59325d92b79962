"""HTTP as delivery needs it: kept connections, no redirects, one limit for the whole of a request."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from engage_sync import __version__
from engage_sync.destinations.protocol import NO_HEADERS, Answer, Destination, Request

# Shorter than what servers and balancers in front of them keep (60 s and more), so that a request seldom meets a
# connection that is just being closed.
_KEEP_ALIVE = 15.0


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """Nothing came back. `sent` is False only where the connection was never made."""

    sent: bool
    reason: str


class Transport:
    """Sends requests; as many at once as it is asked to. Belongs to the loop in which it first sends."""

    def __init__(self) -> None:
        # Called directly, without a client: the client's own work costs more than the request.
        self._transport = AiohttpTransport(client=_session)
        # Parsed once: together they would cost as much as the request itself.
        self._urls: dict[str, httpx.URL] = {}
        self._headers: dict[str, httpx.Headers] = {}

    async def send(
        self,
        destination: Destination,
        request: Request,
        body: bytes,
        seconds: float,
        signature: Mapping[str, str] = NO_HEADERS,
    ) -> Answer | NoAnswer:
        """Send one request and read its whole answer within `seconds`. What goes wrong on the way is not raised.

        `signature` are headers of this request alone.
        """
        headers = self._headers_for(destination)
        sending = httpx.Request(
            request.method,
            self._url(destination.base_url + request.path),
            headers={**headers, **signature} if signature else headers,
            content=body,
        )
        try:
            async with asyncio.timeout(seconds):
                response = await self._transport.handle_async_request(sending)
                try:
                    content = await _content(response)
                finally:
                    await response.aclose()
        except TimeoutError:
            return NoAnswer(sent=True, reason=f"no answer within {seconds:.0f} seconds")
        except (httpx.HTTPError, aiohttp.ClientError, OSError) as failure:
            origin = failure.__cause__ or failure
            return NoAnswer(
                sent=not isinstance(origin, aiohttp.ClientConnectorError), reason=f"no answer: {type(origin).__name__}"
            )
        return Answer(status=response.status_code, headers=_headers(response), body=content)

    async def close(self) -> None:
        await self._transport.aclose()

    def _headers_for(self, destination: Destination) -> httpx.Headers:
        headers = self._headers.get(destination.slug)
        if headers is None:
            own = {"content-type": "application/json", "user-agent": f"engage-sync/{__version__}"}
            headers = self._headers[destination.slug] = httpx.Headers({**own, **destination.headers})
        return headers

    def _url(self, address: str) -> httpx.URL:
        url = self._urls.get(address)
        if url is None:
            url = self._urls[address] = httpx.URL(address)
        return url


async def _content(response: httpx.Response) -> bytes:
    if "content-encoding" in response.headers:
        return await response.aread()
    assert isinstance(response.stream, httpx.AsyncByteStream)
    return b"".join([part async for part in response.stream])


def _headers(response: httpx.Response) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers.raw}


def _session() -> aiohttp.ClientSession:
    # Delivery itself bounds what is under way; a second limit here would let a slot's request wait for a connection.
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE, ttl_dns_cache=60)
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
