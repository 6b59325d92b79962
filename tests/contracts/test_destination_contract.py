"""What every destination keeps to, whatever it talks to. A new one adds a line to `DESTINATIONS`."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import orjson
import pytest

from engage_sync.destinations import registry
from engage_sync.destinations.protocol import (
    Answer,
    Delivered,
    Destination,
    Refused,
    Rejected,
    Request,
    Retry,
    Skipped,
    Unauthorized,
)

KEY = "a-key-that-nobody-may-see"


@dataclass(frozen=True, kw_only=True)
class Case:
    """A type of destination, its least settings, and the body of an answer that says yes."""

    type: str
    settings: Mapping[str, Any]
    success: bytes
    slug: str = "there"
    rate_limits: Mapping[str, float] = field(default_factory=dict)


DESTINATIONS = [
    Case(type="iterable", settings={"api_key": KEY}, success=b'{"code": "Success", "msg": "", "params": null}')
]

WHO = {"userId": "u1", "messageId": "m1", "timestamp": "2026-03-01T10:20:30.999Z"}
CALLS: list[dict[str, Any]] = [
    {"type": "identify", **WHO, "traits": {"email": "a@x.io", "big": True, "since": "2026-03-01T10:20:30Z"}},
    {"type": "identify", **WHO, "traits": {"gone": None, "nested": {"list": [1, {"a": 2}]}}},
    {"type": "track", **WHO, "event": "Audience Entered", "properties": {"audience_key": "big", "big": True}},
    {"type": "track", **WHO, "event": "Order Completed", "properties": {"total": 5, "products": []}},
    {"type": "page", **WHO, "name": "Cart"},
    {"type": "screen", **WHO, "name": "Cart"},
    {"type": "alias", **WHO, "previousId": "anonymous"},
    {"type": "group", **WHO, "groupId": "g1"},
    {"type": "email_change", "userId": "u1", "previousEmail": "a@x.io", "email": "b@x.io"},
]
BROKEN: list[dict[str, Any]] = [
    {},
    {"type": None},
    {"type": "identify"},
    {"type": "track", "event": {"not": "a name"}, "properties": 5, "context": "none", "userId": []},
    {"type": "page", "properties": [], "integrations": []},
]


@pytest.fixture(params=DESTINATIONS, ids=lambda case: case.type)
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.param
    return found


@pytest.fixture
def destination(case: Case) -> Destination:
    return registry.build(case)


@pytest.fixture
def request_sent(destination: Destination) -> Request:
    requests = destination.requests(CALLS[0])
    assert isinstance(requests, tuple)
    return requests[0]


def test_its_type_is_registered(case: Case) -> None:
    assert case.type in registry.types()
    assert registry.settings_problems(case.type, case.settings) == []


def test_it_says_who_it_is_without_its_key(case: Case, destination: Destination) -> None:
    assert destination.slug == case.slug
    assert destination.base_url.startswith("http")
    assert not destination.base_url.endswith("/")
    assert any(KEY in value for value in destination.headers.values())
    assert KEY not in repr(destination)


def test_it_has_the_budgets_of_identify_and_track(destination: Destination) -> None:
    assert {"identify", "track"} <= set(destination.budgets)
    assert all(rate > 0 for rate in destination.budgets.values())


@pytest.mark.parametrize("call", [*CALLS, *BROKEN], ids=str)
def test_any_call_is_answered_and_left_as_it_was(destination: Destination, call: dict[str, Any]) -> None:
    before = copy.deepcopy(call)
    result = destination.requests(MappingProxyType(call))
    assert call == before
    if isinstance(result, Skipped | Refused):
        assert result.reason
        return
    assert result
    for request in result:
        assert request.budget in destination.budgets
        assert request.path.startswith("/")
        assert orjson.loads(orjson.dumps(request.body)) == request.body


@pytest.mark.parametrize("call", CALLS, ids=str)
def test_the_same_call_always_gives_the_same_requests(destination: Destination, call: dict[str, Any]) -> None:
    assert destination.requests(call) == destination.requests(copy.deepcopy(call))


@pytest.mark.parametrize("call", BROKEN, ids=str)
def test_broken_call_gives_no_request(destination: Destination, call: dict[str, Any]) -> None:
    assert isinstance(destination.requests(call), Skipped | Refused)


def test_identify_and_track_draw_on_budgets_of_their_own(destination: Destination) -> None:
    budgets = [requests[0].budget for requests in map(destination.requests, CALLS[:3]) if isinstance(requests, tuple)]
    assert budgets == ["identify", "identify", "track"]


def test_yes_is_delivered(case: Case, destination: Destination, request_sent: Request) -> None:
    assert destination.outcome(request_sent, Answer(status=200, headers={}, body=case.success)) == Delivered()


def test_no_answer_is_retried_as_unanswered(destination: Destination, request_sent: Request) -> None:
    found = destination.outcome(request_sent, None)
    assert isinstance(found, Retry)
    assert found.unanswered


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, Rejected),
        (401, Unauthorized),
        (403, Unauthorized),
        (408, Retry),
        (409, Rejected),
        (429, Retry),
        (500, Retry),
        (502, Retry),
        (503, Retry),
        (504, Retry),
    ],
)
@pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b"[]", b"\xff\x00", b'{"code": [], "msg": {}}'])
def test_refusals_and_trouble_are_told_apart(
    destination: Destination, request_sent: Request, status: int, kind: type, body: bytes
) -> None:
    found = destination.outcome(request_sent, Answer(status=status, headers={"Retry-After": "x"}, body=body))
    assert type(found) is kind
    assert not (isinstance(found, Retry) and found.unanswered)


def test_wait_that_was_asked_for_is_passed_on(destination: Destination, request_sent: Request) -> None:
    found = destination.outcome(request_sent, Answer(status=429, headers={"retry-after": "7"}, body=b""))
    assert isinstance(found, Retry)
    assert found.after == 7.0
