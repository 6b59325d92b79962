"""Asking Iterable for a user, what its answers say, and when a field holds what it was told."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from engage_sync.destinations.protocol import Answer, Holds, Readable, Refused, Rejected, Retry, Unauthorized
from tests.unit.destinations.calls import iterable


def answer(status: int, body: Any) -> Answer:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return Answer(status=status, headers={}, body=raw)


@pytest.mark.parametrize(
    ("project_type", "call", "path"),
    [
        ("email", {"userId": "u1", "traits": {"email": "a+b/c@x.io"}}, "/api/users/a%2Bb%2Fc%40x.io"),
        ("email", {"userId": "u 1/2", "traits": {}}, "/api/users/byUserId/u%201%2F2"),
        ("hybrid", {"userId": "u1", "traits": {"email": "a@x.io"}}, "/api/users/a%40x.io"),
        ("user_id", {"userId": "u1", "traits": {"email": "a@x.io"}}, "/api/users/byUserId/u1"),
        ("user_id", {"traits": {"email": "a@x.io"}}, "/api/users/a%40x.io"),
    ],
)
def test_user_is_asked_for_as_the_project_tells_users_apart(project_type: str, call: Any, path: str) -> None:
    request = iterable(project_type=project_type).lookup({"type": "identify", **call})
    assert not isinstance(request, Refused)
    assert (request.method, request.path, request.body, request.budget) == ("GET", path, {}, "read")


def test_whom_iterable_does_not_take_is_not_asked_for() -> None:
    assert isinstance(iterable().lookup({"type": "identify", "userId": "x" * 60, "traits": {}}), Refused)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (answer(200, {"user": {"email": "a@x.io", "dataFields": {"big": True}}}), Holds(fields={"big": True})),
        (answer(200, {"user": {"email": "a@x.io"}}), Holds(fields={})),
        (answer(200, {}), Holds(fields=None)),
        (answer(200, {"user": None}), Holds(fields=None)),
        (answer(400, {"code": "UnknownEmailError", "msg": "who?"}), Holds(fields=None)),
    ],
)
def test_answer_says_what_is_held(given: Answer, says: Holds) -> None:
    assert iterable().held(given) == says


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (None, Retry),
        (answer(200, b""), Retry),
        (answer(200, b"<html>"), Retry),
        (answer(200, {"code": "Success"}), Retry),
        (answer(200, {"user": "a@x.io"}), Retry),
        (answer(429, {"code": "RateLimitExceeded"}), Retry),
        (answer(503, b""), Retry),
        (answer(404, {"code": "NotFound"}), Rejected),
        (answer(401, {"code": "BadApiKey"}), Unauthorized),
    ],
)
def test_no_other_answer_passes_for_nobody(given: Answer | None, kind: type) -> None:
    """A wrong address answers 404 for everybody: were it taken for nobody, all would be told again."""
    assert isinstance(iterable().held(given), kind)


def test_fields_are_those_of_the_mapping() -> None:
    call = {"type": "identify", "traits": {"email": "a@x.io", "at": "2026-03-01T10:00:00.9Z", "gone": None, "n": 120.0}}
    assert iterable().fields(call) == {"at": "2026-03-01 10:00:00 +00:00", "gone": None, "n": 120.0}


@pytest.mark.parametrize(
    ("told", "held"),
    [
        (120.0, 120),
        (None, None),
        ("2026-03-01T10:00:00.789+01:00", "2026-03-01 09:00:00 +00:00"),
        ("2026-03-01", "2026-03-01T00:00:00Z"),
        ({"a": 1, "b": None}, {"a": 1.0}),
        ([1, {"at": "2026-03-01T10:00:00Z"}], [1.0, {"at": "2026-03-01 10:00:00 +00:00"}]),
    ],
)
def test_alike(told: Any, held: Any) -> None:
    assert iterable().alike(told, held)


@pytest.mark.parametrize(
    ("told", "held"),
    [
        (True, 1),
        (False, None),
        (0, False),
        (1, "1"),
        ([], None),
        ([1], [1, 1]),
        ("a", "A"),
        ({"a": 1}, {"a": 1, "b": 2}),
    ],
)
def test_not_alike(told: Any, held: Any) -> None:
    assert not iterable().alike(told, held)


def test_iterable_is_a_destination_that_can_be_read() -> None:
    assert isinstance(iterable(), Readable)
