"""What Iterable's answers mean.

Its text (`msg`) changes and is only passed on; what counts is the status and the `code` in the body. Some errors carry
the code "Success" with a status above 299, and some refusals come with status 200, so that both are read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import orjson

from engage_sync.destinations.answers import retry_after
from engage_sync.destinations.protocol import Answer, Delivered, Outcome, Rejected, Retry, Unauthorized

REASON_LENGTH: Final = 500

# A blocked event name is answered with 200 and "Success"; only the message tells.
_BLOCKED: Final = "disallowed from tracking"
_UNKNOWN: Final = ("UnknownEmailError", "UnknownUserIdError")


def outcome(answer: Answer | None) -> Outcome:
    """Delivered, Retry, Rejected or Unauthorized; None is no answer."""
    if answer is None:
        return Retry(reason="no answer", unanswered=True)
    status = answer.status
    body = body_of(answer.body)
    if 200 <= status < 300:
        return _accepted(status, body)
    if status in (401, 403):
        return Unauthorized(reason=reason_of(status, body))
    if 400 <= status < 500 and status not in (408, 429):
        return Rejected(reason=reason_of(status, body))
    # 408, 429, 5xx; and whatever else doesn't come from Iterable itself, such as a redirect.
    return Retry(reason=reason_of(status, body), after=retry_after(answer.headers), is_throttled=status == 429)


def is_unknown_user(answer: Answer | None) -> bool:
    """Whether the request named a user whom Iterable doesn't have."""
    return answer is not None and answer.status == 400 and body_of(answer.body).get("code") in _UNKNOWN


def _accepted(status: int, body: Mapping[str, Any]) -> Outcome:
    code = body.get("code")
    if code == "Success":
        message = body.get("msg")
        if isinstance(message, str) and _BLOCKED in message.lower():
            return Rejected(reason=reason_of(status, body))
        return Delivered()
    if isinstance(code, str):
        return Rejected(reason=reason_of(status, body))
    # Without a code it isn't Iterable that answered, but something on the way to it.
    return Retry(reason=reason_of(status, body))


def body_of(raw: bytes) -> Mapping[str, Any]:
    try:
        body = orjson.loads(raw)
    except json.JSONDecodeError:
        return {}
    return body if isinstance(body, dict) else {}


def reason_of(status: int, body: Mapping[str, Any]) -> str:
    message = body.get("msg") or body.get("message")  # newer endpoints say `message`
    parts = [part for part in (body.get("code"), message) if isinstance(part, str) and part]
    text = ": ".join(parts) if parts else "no code from Iterable in the answer"
    return f"{status} {text}"[:REASON_LENGTH]
