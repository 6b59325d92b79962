"""What clients in browsers and phones ask for before they send: which integrations run on the device (none)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from engage_sync.api.credentials import SourceRef

# A client keeps them for a while; a page load need not ask each time.
_HEADERS = {"access-control-allow-origin": "*", "cache-control": "public, max-age=300"}
_ENABLED = {"__default": {"enabled": True, "integrations": {}}}


class BrowserSettings:
    """GET /v1/projects/{write_key}/settings: everything is sent here, and the client's own metrics nowhere."""

    def __init__(self, sources: Mapping[str, SourceRef]) -> None:
        self._sources = sources

    async def __call__(self, request: Request) -> Response:
        write_key = request.path_params["write_key"]
        if write_key not in self._sources:
            body = orjson.dumps({"code": "not_found", "message": "No source has this write key."})
            return Response(body, 404, media_type="application/json", headers=_HEADERS)
        found = _settings(write_key, host=request.url.netloc, protocol=request.url.scheme)
        return Response(orjson.dumps(found), media_type="application/json", headers=_HEADERS)


def _settings(write_key: str, *, host: str, protocol: str) -> dict[str, Any]:
    return {
        "integrations": {
            "Segment.io": {
                "apiKey": write_key,
                "apiHost": f"{host}/v1",
                "protocol": protocol,
                "unbundledIntegrations": [],
                "addBundledMetadata": False,
            }
        },
        "plan": {"track": _ENABLED, "identify": _ENABLED, "group": _ENABLED},
        "edgeFunction": {},
        "middlewareSettings": {},
        "enabledMiddleware": {},
        "remotePlugins": [],
        "metrics": {"sampleRate": 0},
        "analyticsNextEnabled": True,
    }
