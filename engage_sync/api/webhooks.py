"""What other systems tell of their own accord: /webhooks/iterable/{source}.

Writes the inbox through the group committer, as the tracking API does. What a body means is the business of the
folder that knows its sender.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import structlog
from starlette.types import Receive, Scope

from engage_sync import errors
from engage_sync.api import credentials
from engage_sync.api.answers import RequestRefused
from engage_sync.api.committer import GroupCommitter
from engage_sync.api.credentials import WebhookSource
from engage_sync.api.endpoint import Endpoint
from engage_sync.api.metrics import AcceptMetrics
from engage_sync.destinations.iterable import webhooks
from engage_sync.ingest import accept as rules

log = structlog.get_logger(__name__)

PATH: Final = "/webhooks/iterable/"

# As many names as are told of in the log; one that is told of once needs no second line.
_NAMES_TOLD: Final = 100


class IterableWebhooks(Endpoint):
    """The endpoint of all sources of type iterable; `sources`, by slug, is looked at with each request."""

    def __init__(self, *, sources: Mapping[str, WebhookSource], accept: GroupCommitter, metrics: AcceptMetrics) -> None:
        super().__init__(limit=webhooks.MAX_BYTES, accept=accept, metrics=metrics)
        self._sources = sources
        self._told: set[str] = set()

    async def _accept(self, scope: Scope, receive: Receive) -> None:
        known = self._sources.get(scope["path"].removeprefix(PATH).removesuffix("/"))
        if known is None:
            raise RequestRefused(
                404, "not_found", f"Expected {PATH} and the name of a source of type iterable in engage.yml."
            )
        authorization, body = await self._read(scope, receive)
        if not credentials.has_secret(authorization, known.secret):
            raise errors.Unauthorized(
                "Missing or wrong secret. Expected the source's secret as the Auth Token of the webhook in Iterable,"
                " which it sends in the Authorization header."
            )
        webhook = webhooks.read(rules.parse(body))
        await self._committer.submit(known.source.id, [rules.encode(webhook.call)])
        self._count(known.source.slug, webhook)

    def _count(self, source: str, webhook: webhooks.Webhook) -> None:
        self._metrics.accepted.labels(source, webhook.call["type"]).inc()
        # One series for all that is unknown: the names are somebody else's, and series stay for ever.
        self._metrics.webhooks.labels(source, webhook.event if webhook.is_known else "unknown").inc()
        if not webhook.is_known and webhook.event not in self._told and len(self._told) < _NAMES_TOLD:
            self._told.add(webhook.event)
            log.info("unknown_webhook_event", source=source, event_name=webhook.event, kept_as=webhook.call["event"])
