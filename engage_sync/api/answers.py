"""What the tracking API answers: one success, and for every error a status with `{"code", "message"}`.

Messages come from our own error tree only, so that none carries a secret, a value, or a stack trace.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import orjson
from starlette.types import Receive, Send

from engage_sync import clock, errors

# Long enough for a resolver to make room or a database to restart, short enough that clients keep their queue small.
RETRY_AFTER_SECONDS = 5

_JSON = (b"content-type", b"application/json")
# Any page may send: the write key is all that counts, and no cookie is ever read.
_FROM_ANYWHERE = (b"access-control-allow-origin", b"*")
_CLOSE = (b"connection", b"close")
# Enough to read what is under way, little enough that nobody keeps a place by sending on.
_SECONDS_TO_LINGER = 10.0
_READABLE = (b"access-control-expose-headers", b"retry-after")


class InboxFull(errors.EngageSyncError):
    """More calls wait to be resolved than `inbox_limit`; the client comes back later."""


class RequestRefused(errors.EngageSyncError):
    """A request that no call could be read from, with the status that says why."""

    def __init__(self, status: int, code: str, message: str, *, closes: bool = False) -> None:
        self.status = status
        self.code = code
        # Part of the body is still under way: the connection is of no more use.
        self.closes = closes
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete response. `headers` are added to those that every answer has; `code` is that of an error."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    code: str | None = None
    # Part of the request's body is still under way: the connection is of no more use.
    closes: bool = False
    _messages: tuple[dict[str, object], dict[str, object]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        length = (b"content-length", str(len(self.body)).encode())
        typed = (_JSON,) if self.body else ()
        start = {
            "type": "http.response.start",
            "status": self.status,
            "headers": [*typed, length, _FROM_ANYWHERE, *self.headers, *([_CLOSE] if self.closes else [])],
        }
        object.__setattr__(self, "_messages", (start, {"type": "http.response.body", "body": self.body}))

    async def send(self, send: Send) -> None:
        start, body = self._messages
        await send(start)
        await send(body)

    async def send_and_linger(self, receive: Receive, send: Send) -> None:
        """Answer a client that still sends, and keep the connection until it has heard: at most a few seconds.

        A connection that is closed over unread bytes is reset, and a reset throws away what the client has not read.
        """
        start, body = self._messages
        await send(start)
        await send({**body, "more_body": True})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SECONDS_TO_LINGER):
                while (message := await receive())["type"] == "http.request" and message.get("more_body", False):
                    pass
        await send({"type": "http.response.body"})


ACCEPTED = Answer(200, b'{"success": true}')

PREFLIGHT = Answer(
    204,
    headers=(
        (b"access-control-allow-methods", b"GET, POST, OPTIONS"),
        # The wildcard doesn't cover Authorization, which has to be named.
        (b"access-control-allow-headers", b"authorization, content-type, content-encoding, x-retry-count, *"),
        (b"access-control-max-age", b"86400"),
    ),
)


def error(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> Answer:
    """An error as JSON; 429 and 503 say when to come back."""
    extra = [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()]
    if status in (429, 503):
        extra += [(b"retry-after", str(RETRY_AFTER_SECONDS).encode()), _READABLE]
    if status == 429:
        # The Node client reads no Retry-After; it wants the instant, in milliseconds.
        reset = int((clock.now().timestamp() + RETRY_AFTER_SECONDS) * 1000)
        extra.append((b"x-ratelimit-reset", str(reset).encode()))
    return Answer(status, orjson.dumps({"code": code, "message": message}), tuple(extra), code)


def of(failure: errors.EngageSyncError) -> Answer:
    """The answer to a request that ended with one of our errors."""
    match failure:
        case RequestRefused():
            return replace(error(failure.status, failure.code, str(failure)), closes=failure.closes)
        case errors.Unauthorized():
            return error(401, failure.code, str(failure))
        case errors.CallTooLarge():
            return error(413, failure.code, str(failure))
        case errors.CallInvalid():
            return error(400, failure.code, str(failure))
        case InboxFull():
            return error(429, "too_many_requests", str(failure))
        case errors.DatabaseUnavailable():
            # Its own message is for the operator: it may name hosts and users.
            return error(503, "unavailable", "The call could not be stored now. Send it again later.")
        case _:
            return INTERNAL


INTERNAL = error(500, "internal_error", "Something went wrong on our side. Send it again later.")
