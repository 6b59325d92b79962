"""HTTP as delivery needs it: kept connections, no redirects, one limit for the whole of a request.

By reqwest, as its work is done beside the interpreter: a request costs a fifth of what it does in Python
(docs/decisions/0025).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache

from pyreqwest.client import ClientBuilder
from pyreqwest.exceptions import PyreqwestError, RequestError
from pyreqwest.http import Url

from engage_sync import __version__
from engage_sync.destinations.protocol import NO_HEADERS, Answer, Destination, Request

# Shorter than what servers and balancers in front of them keep (60 s and more), so that a request seldom meets a
# connection that is just being closed.
_KEEP_ALIVE = timedelta(seconds=15)
# The limit is kept where the request is made; this much later it is given up here, should it not be.
_GRACE = 1.0
# What the connector says of a connection that was never made. The types of errors don't tell it from an answer that
# was lost.
_NEVER_CONNECTED = "client error (Connect)"


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """Nothing came back. `sent` is False only where the connection was never made."""

    sent: bool
    reason: str


class Transport:
    """Sends requests; as many at once as it is asked to. Belongs to the loop in which it first sends."""

    def __init__(self) -> None:
        # Delivery itself bounds what is under way: a second limit here would let a slot's request wait for a
        # connection. Proxies of the environment are left alone.
        self._client = (
            ClientBuilder()
            .user_agent(f"engage-sync/{__version__}")
            .follow_redirects(False)
            .no_proxy()
            .pool_idle_timeout(_KEEP_ALIVE)
            .build()
        )
        self._headers: dict[str, Mapping[str, str]] = {}

    async def send(
        self,
        destination: Destination,
        request: Request,
        body: bytes,
        seconds: float,
        signature: Mapping[str, str] = NO_HEADERS,
    ) -> Answer | NoAnswer:
        """Send one request and read its whole answer within `seconds`. What goes wrong on the way is not raised.

        Cancelling this gives up the answer, not the request, which ends at its limit. `signature` are headers of this
        request alone.
        """
        headers = self._headers_for(destination)
        try:
            sending = (
                self._client.request(request.method, _url(destination.base_url + request.path))
                .headers({**headers, **signature} if signature else headers)
                .body_bytes(body)
                .timeout(timedelta(seconds=seconds))
                .build()
            )
        except (PyreqwestError, ValueError) as failure:
            return NoAnswer(sent=False, reason=f"no request can be made: {type(failure).__name__}")
        try:
            async with asyncio.timeout(seconds + _GRACE):
                response = await sending.send()
                content = (await response.bytes()).to_bytes()
        except TimeoutError:
            return NoAnswer(sent=True, reason=f"no answer within {seconds:.0f} seconds")
        except PyreqwestError as failure:
            return _no_answer(failure)
        return Answer(status=response.status, headers=dict(response.headers.items()), body=content)

    async def close(self) -> None:
        await self._client.close()

    def _headers_for(self, destination: Destination) -> Mapping[str, str]:
        headers = self._headers.get(destination.slug)
        if headers is None:
            own = {name.lower(): value for name, value in destination.headers.items()}
            headers = self._headers[destination.slug] = {"content-type": "application/json", **own}
        return headers


@lru_cache(maxsize=256)
def _url(address: str) -> Url:
    """Parsed once: few paths carry a person's email."""
    return Url(address)


def _no_answer(failure: PyreqwestError) -> NoAnswer:
    causes = (failure.details.get("causes") if isinstance(failure, RequestError) else None) or ()
    said = [cause["message"] for cause in causes]
    # The first cause names the address, with whatever it carries; the last one says what really happened.
    reason = said[-1] if len(said) > 1 else type(failure).__name__
    return NoAnswer(sent=_NEVER_CONNECTED not in said, reason=f"no answer: {reason}")
