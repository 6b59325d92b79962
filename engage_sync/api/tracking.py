"""The tracking API: /v1/track and its kin, accepted from any Segment client unchanged.

Writes the inbox through the group committer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from starlette.types import Receive, Scope

from engage_sync import errors
from engage_sync.api import answers, calls, credentials
from engage_sync.api.committer import GroupCommitter
from engage_sync.api.credentials import SourceRef
from engage_sync.api.endpoint import Endpoint
from engage_sync.api.metrics import AcceptMetrics
from engage_sync.ingest import accept as rules

# A body of this size takes more than a millisecond to read: in a thread, so that the small ones aren't kept waiting.
_LARGE = 64_000


class Tracking(Endpoint):
    """The endpoint of all calls of one type, or of batches."""

    methods = "POST, OPTIONS"

    def __init__(
        self, type_: str, *, sources: Mapping[str, SourceRef], accept: GroupCommitter, metrics: AcceptMetrics
    ) -> None:
        limit = rules.MAX_BATCH_BYTES if type_ == calls.BATCH else rules.MAX_CALL_BYTES
        super().__init__(limit=limit, accept=accept, metrics=metrics)
        self._type = type_
        self._sources = sources

    async def _answer(self, scope: Scope, receive: Receive) -> answers.Answer:
        if scope["method"] == "OPTIONS":
            return answers.PREFLIGHT
        return await super()._answer(scope, receive)

    async def _accept(self, scope: Scope, receive: Receive) -> None:
        authorization, body = await self._read(scope, receive)
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
