"""What all endpoints that take calls have in common: a body within limits, room for it, and an answer for every error.

Plain ASGI, as this is the hot path. A 200 means that every call of the request is committed; anything else that none
was, or that it is unknown (503), and that sending again is harmless.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import structlog
from starlette.types import Receive, Scope, Send

from engage_sync import errors
from engage_sync.api import answers, bodies
from engage_sync.api.committer import GroupCommitter
from engage_sync.api.metrics import AcceptMetrics

log = structlog.get_logger(__name__)


class Endpoint(ABC):
    """An ASGI application that takes POST, of bodies up to `limit` bytes. What is made of them is up to `_accept`."""

    methods = "POST"

    def __init__(self, *, limit: int, accept: GroupCommitter, metrics: AcceptMetrics) -> None:
        self._limit = limit
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
        await (answer.send_and_linger(receive, send) if answer.closes else answer.send(send))

    @abstractmethod
    async def _accept(self, scope: Scope, receive: Receive) -> None:
        """Return once what the request says is committed. Raises errors.EngageSyncError, bodies.Disconnected."""

    async def _answer(self, scope: Scope, receive: Receive) -> answers.Answer:
        if scope["method"] == "POST":
            await self._accept(scope, receive)
            return answers.ACCEPTED
        return answers.error(405, "method_not_allowed", "Expected POST.", {"allow": self.methods})

    async def _read(self, scope: Scope, receive: Receive) -> tuple[bytes | None, bytes]:
        """The Authorization header and the decoded body. Raises answers.InboxFull where there is no room for calls."""
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
        return authorization, body
