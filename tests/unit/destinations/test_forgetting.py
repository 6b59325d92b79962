"""How each type of destination is asked to forget somebody."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from engage_sync.destinations import registry
from engage_sync.destinations.protocol import Answer, Delivered, Destination, Refused, Rejected, Request, Skipped
from engage_sync.messages import forwarded
from engage_sync.profiles.identifiers import EMAIL, USER_ID

BY_EMAIL = forwarded.forget((EMAIL, "a@x.io"), "forget_1")
BY_USER_ID = forwarded.forget((USER_ID, "u1"), "forget_2")


def made(type_: str, **settings: Any) -> Destination:
    return registry.build(SimpleNamespace(slug="there", type=type_, settings=settings, rate_limits={}))


def forgetting(destination: Destination, call: dict[str, Any]) -> Request:
    (request,) = destination.requests(call)  # type: ignore[misc]
    return request


def test_iterable_forgets_by_its_own_request_in_a_budget_of_its_own() -> None:
    iterable = made("iterable", api_key="k")
    assert forgetting(iterable, BY_EMAIL) == Request(
        method="POST", path="/api/users/forget", body={"email": "a@x.io"}, budget="forget"
    )
    assert forgetting(iterable, BY_USER_ID).body == {"userId": "u1"}
    assert iterable.bulk is not None
    assert iterable.bulk.budget_of(forgetting(iterable, BY_EMAIL)) is None


def test_nobody_to_forget_is_forgotten() -> None:
    iterable = made("iterable", api_key="k")
    request = forgetting(iterable, BY_EMAIL)
    unknown = Answer(status=400, headers={}, body=b'{"code": "UnknownEmailError", "msg": "no such user"}')
    assert iterable.outcome(request, unknown) == Delivered()
    wrong = Answer(status=400, headers={}, body=b'{"code": "BadParams", "msg": "no"}')
    assert isinstance(iterable.outcome(request, wrong), Rejected)


def test_a_project_of_user_ids_is_asked_by_them_only() -> None:
    iterable = made("iterable", api_key="k", project_type="user_id")
    assert isinstance(iterable.requests(BY_EMAIL), Refused)
    assert forgetting(iterable, BY_USER_ID).body == {"userId": "u1"}


def test_what_iterable_can_never_have_been_told_is_not_asked_for() -> None:
    assert isinstance(made("iterable", api_key="k").requests(forwarded.forget((USER_ID, "u" * 53), "f")), Refused)


def test_a_webhook_gets_a_signed_call_of_its_own_type() -> None:
    webhook = made("webhook", url="https://hooks.shop.io/engage", secret="a-long-enough-secret")
    request = forgetting(webhook, BY_EMAIL)
    assert (request.path, request.body) == (
        "/engage", {"type": "forget", "messageId": "forget_1", "traits": {"email": "a@x.io"}},
    )  # fmt: skip
    assert forgetting(webhook, BY_USER_ID).body["userId"] == "u1"
    assert webhook.signature(b"{}", 1)


@pytest.mark.parametrize("call", [BY_EMAIL, BY_USER_ID])
def test_a_tracking_api_takes_no_deletions(call: dict[str, Any]) -> None:
    skipped = made("segment", write_key="k").requests(call)
    assert isinstance(skipped, Skipped)
    assert "takes no deletions" in skipped.reason
