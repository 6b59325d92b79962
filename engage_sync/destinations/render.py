"""What a Segment call would become, without sending it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import orjson

from engage_sync.destinations.protocol import Destination, Refused, Skipped


def render_line(
    destination: Destination,
    line: str | bytes,
    *,
    message_id: Callable[[], str],
    timestamp: datetime,
) -> dict[str, Any]:
    """One JSON line → `{"method", "path", "body"}`, or `{"skipped": reason}` for whatever isn't sent.

    A missing messageId is filled in by `message_id`, a missing timestamp by `timestamp` (aware).
    """
    try:
        call = orjson.loads(line)
    except json.JSONDecodeError as error:
        return {"skipped": f"not JSON: {error.msg}"}
    if not isinstance(call, dict):
        return {"skipped": "not a JSON object"}
    if not isinstance(call.get("type"), str):
        return {"skipped": "the call has no type"}
    if call.get("messageId") is None:
        call["messageId"] = message_id()
    if call.get("timestamp") is None:
        call["timestamp"] = timestamp.astimezone(UTC).isoformat()
    requests = destination.requests(call)
    if isinstance(requests, Refused):
        return {"skipped": requests.sentence}
    if isinstance(requests, Skipped):
        return {"skipped": requests.reason}
    # One line a call: a destination that tells a call by several requests shows the first, which says the most.
    first = requests[0]
    return {"method": first.method, "path": first.path, "body": first.body}
