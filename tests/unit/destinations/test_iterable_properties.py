"""Any JSON is mapped without an error, and whatever is rendered has a form that the stand-in takes."""

from __future__ import annotations

import copy
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engage_sync.destinations.protocol import Refused, Request, Skipped
from engage_sync.sandbox import forms
from tests.factories.any_call import CALLS, JSON, OBJECTS, TEXTS
from tests.unit.destinations.calls import CREATED_AT, iterable

DESTINATIONS = {
    "email": iterable(),
    "user_id": iterable(project_type="user_id", send_context=True, track_all_pages=True, email_change="update"),
    "hybrid": iterable(project_type="hybrid", prefer_user_id=False, map_all_pages_to_single_event_name=False),
}
thorough = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize("project_type", ["email", "user_id", "hybrid"])
@thorough
@given(call=CALLS)
def test_any_call_gives_requests_of_a_form_that_is_taken(project_type: Any, call: dict[str, Any]) -> None:
    before = copy.deepcopy(call)
    result = DESTINATIONS[project_type].requests(call)
    assert call == before
    if isinstance(result, Skipped | Refused):
        assert result.reason
        return
    assert result
    for request in result:
        _check_request(request, project_type)


@thorough
@given(call=st.one_of(OBJECTS, st.dictionaries(st.text(), JSON)))
def test_any_object_is_answered(call: dict[str, Any]) -> None:
    assert isinstance(DESTINATIONS["email"].requests(call), tuple | Skipped | Refused)


@thorough
@given(text=TEXTS)
def test_an_email_is_one_for_both_sides(text: str) -> None:
    call = {"type": "track", "event": "E", "messageId": "m", "timestamp": "2026-03-01T10:20:30Z", "userId": text}
    result = DESTINATIONS["email"].requests(call)
    if isinstance(result, tuple):
        assert result[0].body.get("email") is None or forms.is_email(result[0].body["email"])
        assert result[0].body["createdAt"] == CREATED_AT


def _check_request(request: Request, project_type: Any) -> None:
    # Through the wire and back, as the other side would see it.
    body = orjson.loads(orjson.dumps(request.body))
    failure = forms.check(request.path, body, project_type=project_type)
    assert failure is None, failure
    assert request.budget in DESTINATIONS[project_type].budgets
