"""Asking Iterable for a user, and comparing what it holds with what it was told.

`GET /api/users/{email}` and `GET /api/users/byUserId/{userId}`, 100 requests a second and project together; somebody
whom Iterable doesn't know is an answer without a user.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

import orjson

from engage_sync.destinations.iterable import answers
from engage_sync.destinations.iterable.dates import iterable_date, may_be_date
from engage_sync.destinations.protocol import Answer, Delivered, Holds, Rejected, Request, Retry, Unauthorized

USERS: Final = "/api/users/"
BY_USER_ID: Final = "/api/users/byUserId/"
BUDGET: Final = "read"

_NOBODY: Final = ("UnknownEmailError", "UnknownUserIdError")


def lookup(body: Mapping[str, Any], project_type: str) -> Request:
    """What asks for the user that the body of an update means, as the project tells users apart."""
    by_user_id = "userId" in body and (project_type == "user_id" or "email" not in body)
    path = BY_USER_ID + quote(body["userId"], safe="") if by_user_id else USERS + quote(body["email"], safe="")
    return Request(method="GET", path=path, body={}, budget=BUDGET)


def held(answer: Answer | None) -> Holds | Retry | Rejected | Unauthorized:
    """The user's fields; no fields for nobody."""
    if answer is None or not 200 <= answer.status < 300:
        if answer is not None and answer.status == 400 and _object(answer.body).get("code") in _NOBODY:
            return Holds(fields=None)
        outcome = answers.outcome(answer)
        assert not isinstance(outcome, Delivered)
        return outcome
    body = _object(answer.body)
    user = body.get("user")
    if user is None:
        # Only an empty object, with or without the key, says that there is nobody.
        return Holds(fields=None) if answer.body.strip() and not body.keys() - {"user"} else _strange(answer)
    fields = user.get("dataFields") if isinstance(user, dict) else None
    if fields is None and isinstance(user, dict):
        return Holds(fields={})
    return Holds(fields=fields) if isinstance(fields, dict) else _strange(answer)


def alike(told: Any, held: Any) -> bool:
    """Whether a field that was told a value holds it. Absent is as good as null, 120 as 120.0, a date as its instant.

    `told` may be as it was before the mapping.
    """
    if isinstance(told, bool) or isinstance(held, bool):
        return told is held
    if isinstance(told, str) and isinstance(held, str):
        return _instant(told) == _instant(held)
    if isinstance(told, dict) and isinstance(held, dict):
        return all(alike(told.get(name), held.get(name)) for name in told.keys() | held.keys())
    if isinstance(told, list) and isinstance(held, list):
        return len(told) == len(held) and all(map(alike, told, held))
    return bool(told == held)


def _instant(text: str) -> str:
    return iterable_date(text) if may_be_date(text) else text


def _strange(answer: Answer) -> Retry:
    return Retry(reason=f"{answer.status} no user of Iterable in the answer")


def _object(raw: bytes) -> Mapping[str, Any]:
    try:
        body = orjson.loads(raw)
    except json.JSONDecodeError:
        return {"not JSON": True}
    return body if isinstance(body, dict) else {"no object": True}
