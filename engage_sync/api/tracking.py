"""The tracking API: /v1/track and its kin, accepted from any Segment client unchanged.

Writes the inbox through the group committer. A 200 means that every call of the request is committed; anything else
that none was, or that it is unknown (503), and that sending again is harmless. Plain ASGI, as this is the hot path.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import structlog
from starlette.types import Receive, Scope, Send

from engage_sync import errors
from engage_sync.api import answers, bodies, calls, credentials
from engage_sync.api.committer import GroupCommitter
from engage_sync.api.credentials import SourceRef
from engage_sync.api.metrics import AcceptMetrics
from engage_sync.ingest import accept as rules

log = structlog.get_logger(__name__)

# A body of this size takes more than a millisecond to read: in a thread, so that the small ones aren't kept waiting.
_LARGE = 64_000

_ALLOWED = {"allow": "POST, OPTIONS"}


class Tracking:
    """The ASGI endpoint of all calls of one type, or of batches."""

    def __init__(
        self, type_: str, *, sources: Mapping[str, SourceRef], accept: GroupCommitter, metrics: AcceptMetrics
    ) -> None:
        self._type = type_
        self._limit = rules.MAX_BATCH_BYTES if type_ == calls.BATCH else rules.MAX_CALL_BYTES
        self._sources = sources
        self._committer = accept
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            answer = await self._answer(scope, receive)
        except bodies.Disconnected:
            return
        except errors.EngageSyncError as failure:
            answer = answers.of(failure)
        except Exception:
            # The body stays out of the log: it holds people's data and the write key.
            log.exception("accept_failed", path=scope["path"])
            answer = answers.INTERNAL
        if answer.code is not None:
            self._metrics.refused.labels(answer.code).inc()
        await answer.send(send)

    async def _answer(self, scope: Scope, receive: Receive) -> answers.Answer:
        match scope["method"]:
            case "POST":
                await self._accept(scope, receive)
                return answers.ACCEPTED
            case "OPTIONS":
                return answers.PREFLIGHT
            case _:
                return answers.error(405, "method_not_allowed", "Expected POST.", _ALLOWED)

    async def _accept(self, scope: Scope, receive: Receive) -> None:
        authorization = declared = None
        encoding = b""
        for name, value in scope["headers"]:
            if name == b"authorization":
                authorization = value
            elif name == b"content-length":
                declared = value
            elif name == b"content-encoding":
                encoding = value
        body = await bodies.read(receive, limit=self._limit, declared=declared, encoding=encoding)
        self._committer.require_room()
        if len(body) < _LARGE:
            source, decoded = self._decode(authorization, body)
        else:
            source, decoded = await asyncio.to_thread(self._decode, authorization, body)
        await self._committer.submit(source.id, decoded.bodies)
        for type_, count in decoded.types.items():
            self._metrics.accepted.labels(source.slug, type_).inc(count)

    def _decode(self, authorization: bytes | None, body: bytes) -> tuple[SourceRef, calls.Calls]:
        source = self._source_of_header(authorization)
        parsed = rules.parse(body)
        if source is None:
            source = self._source_of_body(calls.write_key_of(parsed))
        return source, calls.decode(parsed, self._type)

    def _source_of_header(self, authorization: bytes | None) -> SourceRef | None:
        """None where the header names no source that we know: clients with OAuth send a token there, and the key in
        the body."""
        if authorization is None:
            return None
        key = credentials.write_key(authorization.decode("latin-1"))
        return self._sources.get(key) if key is not None else None

    def _source_of_body(self, key: str | None) -> SourceRef:
        source = self._sources.get(key) if key is not None else None
        if source is None:
            raise errors.Unauthorized(
                "Unknown write key. Expected it as the user name of Basic authentication, as a Bearer token, or as "
                "writeKey in the body."
            )
        return source
