from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from engage_sync.destinations.render import render_line
from tests.unit.destinations.calls import CREATED_AT, call, iterable

NOW = datetime(2026, 3, 1, 10, 20, 30, 999, tzinfo=UTC)


def rendered(line: str | bytes) -> Any:
    return render_line(iterable(), line, message_id=lambda: "filled", timestamp=NOW)


def test_call_is_rendered_as_its_request() -> None:
    line = json.dumps(call("identify", traits={"email": "a@x.io"}))
    expected = {
        "method": "POST",
        "path": "/api/users/update",
        "body": {
            "email": "a@x.io",
            "userId": "u1",
            "dataFields": {"email": "a@x.io"},
            "mergeNestedObjects": False,
        },
    }
    assert rendered(line) == expected
    assert rendered(line.encode()) == expected


@pytest.mark.parametrize("missing", [{}, {"messageId": None, "timestamp": None}])
def test_message_id_and_timestamp_are_filled_in(missing: dict[str, Any]) -> None:
    body = rendered(json.dumps({"type": "track", "event": "E", "userId": "u1", **missing}))["body"]
    assert (body["id"], body["createdAt"]) == ("filled", CREATED_AT)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        (b"\xff", "not JSON"),
        ("[" * 2000, "not JSON"),
        ("[]", "not a JSON object"),
        ("null", "not a JSON object"),
        ("{}", "the call has no type"),
        ('{"type": 5}', "the call has no type"),
        ('{"type": "group"}', "group calls are not sent"),
        ('{"type": "track", "userId": "u1"}', "the event has no name"),
    ],
)
def test_what_is_not_sent_says_why(line: str | bytes, reason: str) -> None:
    found = rendered(line)
    assert list(found) == ["skipped"]
    assert found["skipped"].startswith(reason)
