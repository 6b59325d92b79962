"""What every destination keeps to, whatever it talks to. A new one adds a line to `DESTINATIONS`."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

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
from engage_sync.destinations.render import render_line
from tests.factories.any_call import CALLS as ANY_CALLS
from tests.factories.any_call import JSON, OBJECTS

KEY = "a-key-that-nobody-may-see"


@dataclass(frozen=True, kw_only=True)
class Case:
    """A type of destination, its least settings, their secret, and the body of an answer that says yes."""

    type: str
    secret: str
    settings: Mapping[str, Any]
    success: bytes
    slug: str = "there"
    rate_limits: Mapping[str, float] = field(default_factory=dict)


DESTINATIONS = [
    Case(
        type="iterable",
        settings={"api_key": KEY},
        secret="api_key",
        success=b'{"code": "Success", "msg": "", "params": null}',
    ),
    Case(type="segment", settings={"write_key": KEY}, secret="write_key", success=b'{"success": true}'),
    Case(
        type="webhook",
        settings={"url": "https://hooks.shop.io/engage?v=1", "secret": KEY},
        secret="secret",
        success=b"",
    ),
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
    assert KEY in destination.secrets
    assert KEY not in repr(destination)
    assert KEY not in repr(vars(destination).get("settings"))


def test_its_settings_are_checked_by_name_and_without_values(case: Case) -> None:
    misspelt = case.secret[:-1]
    problems = dict(registry.settings_problems(case.type, {**case.settings, misspelt: KEY}))
    assert problems == {misspelt: f"unknown setting {misspelt!r}; did you mean {case.secret!r}?"}
    rest = {name: value for name, value in case.settings.items() if name != case.secret}
    assert registry.settings_problems(case.type, rest) == [(case.secret, f"setting {case.secret!r} is missing")]
    for wrong in ("", "\n", 5, None, [KEY], {"a": KEY}):
        (problem,) = registry.settings_problems(case.type, {**case.settings, case.secret: wrong})
        assert problem[0] == case.secret
        assert KEY not in problem[1]


def test_settings_may_come_wrapped_from_the_environment(case: Case) -> None:
    wrapped = {name: SecretStr(value) for name, value in case.settings.items()}
    assert registry.settings_problems(case.type, wrapped) == []


def test_its_settings_have_a_schema_that_hides_the_secret(case: Case) -> None:
    schema = registry.settings_schemas()[case.type]
    assert schema["additionalProperties"] is False
    assert set(case.settings) <= set(schema["properties"])
    assert schema["properties"][case.secret]["writeOnly"] is True
    assert all(value.get("description") for value in schema["properties"].values())


def test_its_rates_can_be_set(case: Case) -> None:
    slower = registry.build(replace(case, rate_limits={"identify": 7}))
    assert slower.budgets == {**registry.build(case).budgets, "identify": 7}


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


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(call=st.one_of(ANY_CALLS, st.dictionaries(st.text(), JSON), OBJECTS))
@pytest.mark.parametrize("made", DESTINATIONS, ids=lambda case: case.type)
def test_any_object_gives_requests_that_can_be_written_or_says_why_not(made: Case, call: dict[str, Any]) -> None:
    destination = registry.build(made)
    before = copy.deepcopy(call)
    result = destination.requests(call)
    assert call == before
    if isinstance(result, Skipped | Refused):
        assert result.reason
        return
    for request in result:
        assert orjson.loads(orjson.dumps(request.body)) == request.body
        assert request.budget in destination.budgets


def test_nesting_without_end_is_refused(destination: Destination) -> None:
    deep: Any = 1
    for _ in range(5000):
        deep = {"a": deep}
    for call in ({**CALLS[0], "traits": {"deep": deep}}, {**CALLS[2], "properties": {"deep": deep}}):
        assert isinstance(destination.requests(call), Refused)


def test_call_of_nobody_is_refused_by_field(destination: Destination) -> None:
    for call in CALLS[:3]:
        found = destination.requests({name: value for name, value in call.items() if name not in ("userId", "traits")})
        assert isinstance(found, Refused)
        assert found.field == "userId"


def test_call_can_be_rendered_without_its_secrets(destination: Destination) -> None:
    line = orjson.dumps(CALLS[0])
    found = render_line(destination, line, message_id=lambda: "m", timestamp=datetime(2026, 3, 1, tzinfo=UTC))
    assert list(found) == ["method", "path", "body"]
    assert KEY not in str(found)


def test_signature_is_of_the_body_and_the_time(destination: Destination) -> None:
    one = destination.signature(b'{"a": 1}', 1_772_360_430)
    assert one == destination.signature(b'{"a": 1}', 1_772_360_430)
    assert KEY not in str(one)
    others = (destination.signature(b'{"a": 2}', 1_772_360_430), destination.signature(b'{"a": 1}', 1_772_360_431))
    assert not one or one not in others


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
        (302, Retry),
        (408, Retry),
        (410, Rejected),
        (413, Rejected),
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
