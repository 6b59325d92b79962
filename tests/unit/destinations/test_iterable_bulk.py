"""Several requests as one of Iterable's bulk requests, and what its answer says of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
import pytest

from engage_sync.destinations import registry
from engage_sync.destinations.protocol import (
    Answer,
    Bulk,
    Delivered,
    Outcome,
    Rejected,
    Request,
    Retry,
    Unauthorized,
    Unclear,
)
from tests.unit.destinations.calls import Config, iterable

FAILED_LISTS = (
    "invalidEmails",
    "invalidUserIds",
    "invalidDataEmails",
    "invalidDataUserIds",
    "forgottenEmails",
    "forgottenUserIds",
    "conflictEmails",
    "conflictUserIds",
    "notFoundEmails",
    "notFoundUserIds",
)


def bulk() -> Bulk:
    found = iterable().bulk
    assert found is not None
    return found


def user(email: str | None = None, user_id: str | None = None, /, **fields: Any) -> Request:
    who = {name: value for name, value in (("email", email), ("userId", user_id)) if value is not None}
    return Request(method="POST", path="/api/users/update", body={**who, "dataFields": fields}, budget="identify")


def event(email: str, name: str = "Bought") -> Request:
    body = {"email": email, "eventName": name, "id": f"{email} {name}"}
    return Request(method="POST", path="/api/events/track", body=body, budget="track")


def outcomes(requests: Sequence[Request], body: Any, status: int = 200) -> Sequence[Outcome | Unclear]:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return bulk().outcomes(requests, Answer(status=status, headers={}, body=raw))


def answer(fail_count: int, **lists: Any) -> dict[str, Any]:
    failed: dict[str, Any] = {name: lists.pop(name, []) for name in FAILED_LISTS}
    return {"successCount": 0, "failCount": fail_count, "failedUpdates": failed, **lists}


def kinds(found: Sequence[Outcome | Unclear]) -> list[type]:
    return [type(outcome) for outcome in found]


PEOPLE = [user("ann@x.io"), user("Bob@x.io", "b1"), user(None, "C1")]


def test_settings_say_when_it_is_used() -> None:
    def used(mode: str) -> Bulk | None:
        return registry.build(Config(settings={"api_key": "k", "bulk": mode})).bulk

    assert used("never") is None
    backlog, always = used("backlog"), used("always")
    assert backlog is not None
    assert always is not None
    assert (backlog.is_always_used, always.is_always_used, bulk().is_always_used) == (False, True, False)


def test_only_updates_and_events_are_joined_each_on_a_budget_of_its_own() -> None:
    assert bulk().budget_of(user("a@x.io")) == "identify_bulk"
    assert bulk().budget_of(event("a@x.io")) == "track_bulk"
    for path in ("/api/commerce/trackPurchase", "/api/commerce/updateCart", "/api/users/updateEmail"):
        assert bulk().budget_of(Request(method="POST", path=path, body={}, budget="other")) is None
    assert set(bulk().limits) <= set(iterable().budgets)
    assert (iterable().budgets["identify_bulk"], iterable().budgets["track_bulk"]) == (5, 10)


def test_users_become_one_request() -> None:
    assert bulk().join(PEOPLE) == Request(
        method="POST",
        path="/api/users/bulkUpdate",
        body={"users": [request.body for request in PEOPLE]},
        budget="identify_bulk",
    )


def test_events_become_one_request() -> None:
    assert bulk().join([event("a@x.io")]) == Request(
        method="POST",
        path="/api/events/trackBulk",
        body={"events": [event("a@x.io").body]},
        budget="track_bulk",
    )


def test_largest_request_is_within_four_megabytes() -> None:
    for limits in bulk().limits.values():
        assert limits.most_entries == 1000
        assert limits.most_bytes + len(orjson.dumps(bulk().join([event("a@x.io")]).body)) < 4_000_000


def test_nothing_failed() -> None:
    assert outcomes(PEOPLE, answer(0)) == [Delivered()] * 3


@pytest.mark.parametrize("name", [name for name in FAILED_LISTS if name.endswith("Emails")])
def test_failed_email_is_found_in_any_case(name: str) -> None:
    found = outcomes(PEOPLE, answer(1, **{name: ["bob@X.io"]}))
    assert kinds(found) == [Delivered, Rejected, Delivered]
    assert isinstance(found[1], Rejected)
    assert found[1].reason.startswith(f"200 {name}: ")


@pytest.mark.parametrize("name", [name for name in FAILED_LISTS if name.endswith("UserIds")])
def test_failed_user_id_is_found_in_its_own_case(name: str) -> None:
    assert kinds(outcomes(PEOPLE, answer(1, **{name: ["C1"]}))) == [Delivered, Delivered, Rejected]
    assert kinds(outcomes(PEOPLE, answer(0, **{name: ["c1"]}))) == [Delivered] * 3


def test_email_among_the_fields_is_what_some_lists_name() -> None:
    changing = user(None, "b1", email="new@x.io")
    assert kinds(outcomes([changing, PEOPLE[0]], answer(1, invalidDataEmails=["new@x.io"]))) == [Rejected, Delivered]


def test_older_lists_count_where_there_is_no_newer_one() -> None:
    body = {"failCount": 2, "invalidEmails": ["ann@x.io"], "invalidUserIds": ["C1"]}
    assert kinds(outcomes(PEOPLE, body)) == [Rejected, Delivered, Rejected]


def test_older_lists_beside_the_newer_ones_count_once() -> None:
    """Two entries of one email, one of which failed: it stands in two lists and is still one of the two."""
    twice = [user("ann@x.io"), user("ann@x.io"), user("bob@x.io")]
    body = answer(1, invalidEmails=["ann@x.io"])
    body["failedUpdates"] = {"invalidEmails": ["ann@x.io"]}
    assert kinds(outcomes(twice, body)) == [Unclear, Unclear, Delivered]


def test_name_that_fits_as_many_as_failed_is_certain() -> None:
    twice = [user("ann@x.io"), user("Ann@x.io")]
    assert kinds(outcomes(twice, answer(2, forgottenEmails=["ann@x.io", "ann@x.io"]))) == [Rejected, Rejected]


def test_failure_that_no_list_names_leaves_the_others_unclear() -> None:
    found = outcomes(PEOPLE, answer(2, conflictEmails=["ann@x.io"]))
    assert kinds(found) == [Rejected, Unclear, Unclear]


def test_failure_of_a_single_entry_needs_no_name() -> None:
    assert kinds(outcomes(PEOPLE[:1], answer(1))) == [Rejected]


def test_disallowed_event_is_refused_by_its_name() -> None:
    events = [event("a@x.io"), event("a@x.io", "Secret"), event("b@x.io", "Secret")]
    found = outcomes(events, answer(2, disallowedEventNames=["Secret"]))
    assert kinds(found) == [Delivered, Rejected, Rejected]
    assert found[1] == Rejected(reason="200 the project does not take the event 'Secret'")


@pytest.mark.parametrize("status", [400, 404, 408, 409, 413, 422])
def test_refusal_of_the_whole_is_unclear_and_of_one_alone_is_its_own(status: int) -> None:
    body = {"code": "BadParams", "msg": "no", "params": None}
    assert outcomes(PEOPLE, body, status) == [Unclear(reason=f"{status} BadParams: no")] * 3
    alone = outcomes(PEOPLE[:1], body, status)
    assert alone == [iterable().outcome(PEOPLE[0], Answer(status=status, headers={}, body=orjson.dumps(body)))]


def test_refusal_under_status_200_is_one_of_the_whole() -> None:
    assert kinds(outcomes(PEOPLE, {"code": "BatchTooLarge", "msg": ""})) == [Unclear] * 3


@pytest.mark.parametrize(("status", "kind"), [(429, Retry), (500, Retry), (302, Retry), (401, Unauthorized)])
def test_trouble_is_everybody_s(status: int, kind: type) -> None:
    assert kinds(outcomes(PEOPLE, {"code": "x"}, status)) == [kind] * 3


@pytest.mark.parametrize("body", [b"", b"<html>", [], {}, {"failCount": "1"}, {"failCount": True}])
def test_answer_of_something_else_than_iterable_is_retried(body: Any) -> None:
    assert kinds(outcomes(PEOPLE, body)) == [Retry] * 3


def test_no_answer_is_unknown_for_everybody() -> None:
    assert bulk().outcomes(PEOPLE, None) == [Retry(reason="no answer", unanswered=True)] * 3


@pytest.mark.parametrize(
    "lists", [{"invalidEmails": None}, {"invalidEmails": [None, 5, {}]}, {"failedUpdates": 5}, {"failedUpdates": None}]
)
def test_lists_in_any_form_are_read(lists: dict[str, Any]) -> None:
    found = outcomes(PEOPLE, {"failCount": 1, **lists})
    assert kinds(found) == [Unclear] * 3
