"""The HTTP application: the tracking API, webhooks, health and metrics; other routers are handed in.

Everything it needs is an argument; nothing is built at import. Errors outside the tracking API have its shape, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import orjson
import structlog
from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from prometheus_client import CollectorRegistry
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from engage_sync import __version__
from engage_sync.api import calls, operations, webhooks
from engage_sync.api.browser import BrowserSettings
from engage_sync.api.committer import GroupCommitter
from engage_sync.api.credentials import SourceRef, WebhookSource
from engage_sync.api.health import Readiness
from engage_sync.api.metrics import AcceptMetrics
from engage_sync.api.tracking import Tracking
from engage_sync.api.webhooks import IterableWebhooks
from engage_sync.settings import Settings

log = structlog.get_logger(__name__)

_CODES = {
    400: "invalid_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    413: "payload_too_large",
    429: "too_many_requests",
    503: "unavailable",
}


def create_app(
    *,
    sources: Mapping[str, SourceRef],
    webhook_sources: Mapping[str, WebhookSource],
    accept: GroupCommitter,
    settings: Settings,
    readiness: Readiness,
    metrics: AcceptMetrics,
    registry: CollectorRegistry,
    routers: Sequence[APIRouter] = (),
) -> FastAPI:
    """The application.

    `sources`, by write key, and `webhook_sources`, by slug, are looked at with each request, so that they may change
    while the server runs. `metrics` are the counters of what is accepted, `registry` all that /metrics shows.
    """
    app = _Application(
        endpoints=_endpoints(sources, accept, metrics),
        webhooks=IterableWebhooks(sources=webhook_sources, accept=accept, metrics=metrics),
    )
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _failed)
    app.add_route("/v1/projects/{write_key}/settings", BrowserSettings(sources).__call__, methods=["GET"])
    app.include_router(operations.router(settings, readiness, registry))
    for router in routers:
        app.include_router(router)
    return app


class _Application(FastAPI):
    """The tracking API is found by one look into a dict, before the framework's layers and its routes, one by one.

    So are webhooks by their path's beginning: a campaign to a million people comes back as millions of them.
    """

    def __init__(self, *, endpoints: Mapping[str, Tracking], webhooks: IterableWebhooks) -> None:
        super().__init__(
            title="engage-sync",
            version=__version__,
            docs_url=None,
            redoc_url=None,
            openapi_url=None,
            redirect_slashes=False,
        )
        self._endpoints = endpoints
        self._webhooks = webhooks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = self._endpoints.get(scope["path"]) if scope["type"] == "http" else None
        if endpoint is not None:
            await endpoint(scope, receive, send)
        elif scope["type"] == "http" and scope["path"].startswith(webhooks.PATH):
            await self._webhooks(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def _endpoints(sources: Mapping[str, SourceRef], accept: GroupCommitter, metrics: AcceptMetrics) -> dict[str, Tracking]:
    of_type = {
        type_: Tracking(type_, sources=sources, accept=accept, metrics=metrics) for type_ in set(calls.TYPES.values())
    }
    return {f"/v1/{name}{slash}": of_type[type_] for name, type_ in calls.TYPES.items() for slash in ("", "/")}


async def _refused(_request: Request, failure: Exception) -> Response:
    assert isinstance(failure, HTTPException)
    code = _CODES.get(failure.status_code, "error")
    return _error(failure.status_code, code, str(failure.detail), failure.headers)


async def _invalid(_request: Request, failure: Exception) -> Response:
    assert isinstance(failure, RequestValidationError)
    # Where and what, without the value that was found there.
    lines = [f"{'.'.join(map(str, error['loc']))}: {error['msg']}" for error in failure.errors()]
    return _error(400, "invalid_request", "; ".join(lines))


async def _failed(request: Request, failure: Exception) -> Response:
    log.error("request_failed", path=request.url.path, error=type(failure).__name__)
    return _error(500, "internal_error", "Something went wrong on our side.")


def _error(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> Response:
    body = orjson.dumps({"code": code, "message": message})
    return Response(body, status, dict(headers or {}), media_type="application/json")
