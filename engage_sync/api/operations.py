"""For those who run it: /health/live, /health/ready, /metrics."""

from __future__ import annotations

import asyncio

import orjson
from fastapi import APIRouter, Request
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.responses import Response

from engage_sync.api import answers, credentials
from engage_sync.api.health import Readiness
from engage_sync.settings import Settings


def router(settings: Settings, readiness: Readiness, registry: CollectorRegistry) -> APIRouter:
    """The routes of health (without a key) and metrics (Bearer token)."""
    routes = APIRouter()

    @routes.get("/health/live")
    async def live() -> Response:
        return _json(200, {"status": "live"})

    @routes.get("/health/ready")
    async def ready() -> Response:
        problem = await readiness.problem()
        if problem is None:
            return _json(200, {"status": "ready"})
        return _json(503, {"code": "not_ready", "message": problem}, {"retry-after": str(answers.RETRY_AFTER_SECONDS)})

    @routes.get("/metrics")
    async def metrics(request: Request) -> Response:
        if not credentials.is_operator(request.headers.get("authorization", ""), settings.api_token):
            raise HTTPException(
                401,
                "Expected the API token (ENGAGE_SYNC_API_TOKEN) as a Bearer token.",
                {"www-authenticate": "Bearer"},
            )
        # The gauges ask the database.
        text = await asyncio.to_thread(generate_latest, registry)
        return Response(text, media_type=CONTENT_TYPE_LATEST)

    return routes


def _json(status: int, body: dict[str, str], headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(body), status, headers, media_type="application/json")
