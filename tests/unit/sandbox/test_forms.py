from __future__ import annotations

from typing import Any

import pytest

from engage_sync.sandbox import forms
from engage_sync.sandbox.options import (
    BULK_UPDATE,
    EVENTS_TRACK,
    TRACK_BULK,
    TRACK_PURCHASE,
    UPDATE_CART,
    UPDATE_EMAIL,
    USERS_FORGET,
    USERS_MERGE,
    USERS_UPDATE,
)

ITEM = {"id": "p1", "name": "Tea", "price": 4.5, "quantity": 2}
GOOD: dict[str, dict[str, Any]] = {
    USERS_UPDATE: {"email": "a@x.io", "userId": "u1", "dataFields": {"a": 1}, "mergeNestedObjects": False},
    UPDATE_EMAIL: {"currentEmail": "a@x.io", "newEmail": "b@x.io"},
    EVENTS_TRACK: {"email": "a@x.io", "eventName": "E", "id": "m1", "createdAt": 1_700_000_000, "dataFields": {}},
    TRACK_PURCHASE: {"id": "o1", "user": {"userId": "u1"}, "items": [ITEM], "total": 9, "createdAt": 1_700_000_000},
    UPDATE_CART: {"user": {"email": "a@x.io"}, "items": []},
    BULK_UPDATE: {"users": [{"email": "a@x.io", "preferUserId": True, "dataFields": {"a": 1}}], "updateOnly": False},
    TRACK_BULK: {"events": [{"userId": "u1", "eventName": "E", "id": "m1", "createdAt": 1_700_000_000}]},
    USERS_FORGET: {"email": "a@x.io"},
    USERS_MERGE: {"sourceEmail": "a@x.io", "destinationUserId": "u1", "arrayMerge": [{"field": "tags"}]},
}


@pytest.mark.parametrize("path", GOOD)
def test_good_body_is_taken(path: str) -> None:
    assert forms.check(path, GOOD[path]) is None


@pytest.mark.parametrize("path", GOOD)
@pytest.mark.parametrize("body", [None, [], "x", 5])
def test_body_that_is_no_object_is_refused(path: str, body: Any) -> None:
    failure = forms.check(path, body)
    assert failure is not None
    assert (failure.status, failure.code, failure.params) == (400, "BadJsonBody", {"obj": "Object value expected"})


@pytest.mark.parametrize("path", GOOD)
def test_unknown_field_is_refused_by_its_path(path: str) -> None:
    failure = forms.check(path, {**GOOD[path], "enable_batching": True})
    assert failure is not None
    assert (failure.code, list(failure.params or {})) == ("BadParams", ["obj.enable_batching"])


@pytest.mark.parametrize(
    ("path", "missing"),
    [
        (UPDATE_EMAIL, "newEmail"),
        (EVENTS_TRACK, "eventName"),
        (TRACK_PURCHASE, "user"),
        (TRACK_PURCHASE, "items"),
        (TRACK_PURCHASE, "total"),
        (UPDATE_CART, "user"),
        (UPDATE_CART, "items"),
        (BULK_UPDATE, "users"),
        (TRACK_BULK, "events"),
    ],
)
def test_missing_field_is_refused_by_its_path(path: str, missing: str) -> None:
    failure = forms.check(path, {name: value for name, value in GOOD[path].items() if name != missing})
    assert failure is not None
    assert (failure.code, failure.params) == ("BadJsonBody", {f"obj.{missing}": "Field is required"})


@pytest.mark.parametrize(
    ("path", "overrides", "code", "where"),
    [
        (USERS_UPDATE, {"email": 5}, "BadJsonBody", "obj.email"),
        (USERS_UPDATE, {"userId": None}, "BadJsonBody", "obj.userId"),
        (USERS_UPDATE, {"email": "nobody"}, "InvalidEmailAddressError", "obj.email"),
        (USERS_UPDATE, {"email": "a@localhost"}, "InvalidEmailAddressError", "obj.email"),
        (USERS_UPDATE, {"userId": "u" * 53}, "InvalidUserIdError", "obj.userId"),
        (USERS_UPDATE, {"userId": ""}, "InvalidUserIdError", "obj.userId"),
        (USERS_UPDATE, {"userId": "ü"}, "InvalidUserIdError", "obj.userId"),
        (USERS_UPDATE, {"mergeNestedObjects": 1}, "BadJsonBody", "obj.mergeNestedObjects"),
        (USERS_UPDATE, {"dataFields": []}, "BadJsonBody", "obj.dataFields"),
        (USERS_UPDATE, {"dataFields": {"a.b": 1}}, "BadParams", "obj.dataFields.a.b"),
        (USERS_UPDATE, {"dataFields": {"a": [{"b.c": 1}]}}, "BadParams", "obj.dataFields.a[0].b.c"),
        (USERS_UPDATE, {"dataFields": {"signupDate": "x"}}, "BadParams", "obj.dataFields.signupDate"),
        (USERS_UPDATE, {"dataFields": {"phoneNumber": 5}}, "BadJsonBody", "obj.dataFields.phoneNumber"),
        (USERS_UPDATE, {"dataFields": {"n": 2**63}}, "BadParams", "obj.dataFields.n"),
        (USERS_UPDATE, {"dataFields": {"d": "2023-02-05T20:42:10Z"}}, "BadParams", "obj.dataFields.d"),
        (USERS_UPDATE, {"dataFields": {"d": [["2023-02-05T20:42"]]}}, "BadParams", "obj.dataFields.d[0][0]"),
        (EVENTS_TRACK, {"eventName": ""}, "BadParams", "obj.eventName"),
        (EVENTS_TRACK, {"id": "ü" * 257}, "BadParams", "obj.id"),
        (EVENTS_TRACK, {"createdAt": 1_700_000_000_000}, "BadParams", "obj.createdAt"),
        (EVENTS_TRACK, {"createdAt": -1}, "BadParams", "obj.createdAt"),
        (EVENTS_TRACK, {"createdAt": "1700000000"}, "BadJsonBody", "obj.createdAt"),
        (EVENTS_TRACK, {"createdAt": 1.5}, "BadJsonBody", "obj.createdAt"),
        (EVENTS_TRACK, {"createdAt": True}, "BadJsonBody", "obj.createdAt"),
        (EVENTS_TRACK, {"campaignId": "7"}, "BadJsonBody", "obj.campaignId"),
        (EVENTS_TRACK, {"preferUserId": True}, "BadParams", "obj.preferUserId"),
        (TRACK_PURCHASE, {"total": "9"}, "BadJsonBody", "obj.total"),
        (TRACK_PURCHASE, {"campaignId": 2**31}, "BadJsonBody", "obj.campaignId"),
        (TRACK_PURCHASE, {"user": {}}, "BadParams", "obj.user"),
        (TRACK_PURCHASE, {"items": [{**ITEM, "id": 1}]}, "BadJsonBody", "obj.items[0].id"),
        (TRACK_PURCHASE, {"items": [{"id": "p", "name": "n", "price": 1}]}, "BadJsonBody", "obj.items[0].quantity"),
        (TRACK_PURCHASE, {"items": [{**ITEM, "quantity": 1.5}]}, "BadJsonBody", "obj.items[0].quantity"),
        (TRACK_PURCHASE, {"items": [{**ITEM, "categories": "Tea"}]}, "BadJsonBody", "obj.items[0].categories"),
        (TRACK_PURCHASE, {"items": [{**ITEM, "brand": "B"}]}, "BadParams", "obj.items[0].brand"),
        (TRACK_PURCHASE, {"items": ["Tea"]}, "BadJsonBody", "obj.items[0]"),
        (UPDATE_CART, {"createdAt": 1_700_000_000}, "BadParams", "obj.createdAt"),
        (UPDATE_EMAIL, {"newEmail": "b"}, "InvalidEmailAddressError", "obj.newEmail"),
    ],
)
def test_value_of_the_wrong_form_is_refused_by_its_path(
    path: str, overrides: dict[str, Any], code: str, where: str
) -> None:
    failure = forms.check(path, {**GOOD[path], **overrides})
    assert failure is not None
    assert (failure.status, failure.code) == (400, code)
    assert where in (failure.params or {})
    assert where in failure.message


def test_nobody_is_refused() -> None:
    assert forms.check(USERS_UPDATE, {"dataFields": {}}) is not None
    assert forms.check(UPDATE_EMAIL, {"newEmail": "b@x.io"}) is not None


def test_an_email_does_not_change_by_the_way() -> None:
    body = {"email": "a@x.io", "dataFields": {"email": "b@x.io"}}
    assert forms.check(USERS_UPDATE, body) is not None
    assert forms.check(USERS_UPDATE, body, project_type="hybrid") is None
    assert forms.check(USERS_UPDATE, {"email": "A@x.io", "dataFields": {"email": "a@X.io"}}) is None
    assert forms.check(UPDATE_EMAIL, GOOD[UPDATE_EMAIL], project_type="hybrid") is not None


@pytest.mark.parametrize(
    "text", ["2023-02-31T20:42:10Z", "2023-02-05T25:42:10Z", "2023-02-05 20:42:10 +00:00", "2023-02-05"]
)
def test_text_that_is_no_iso_date_time_is_taken(text: str) -> None:
    assert forms.check(USERS_UPDATE, {"email": "a@x.io", "dataFields": {"d": text}}) is None


def test_dates_may_be_loose() -> None:
    body = {"email": "a@x.io", "dataFields": {"d": "2023-02-05T20:42:10Z"}}
    assert forms.check(USERS_UPDATE, body, strict_dates=False) is None


@pytest.mark.parametrize(
    ("email", "valid"),
    [
        ("a@x.io", True),
        ("a+b.c_d@sub.x-y.io", True),
        ("o'neil@x.io", True),
        ("a@@x.io", False),
        ("a b@x.io", False),
        ("a@-x.io", False),
        ("a@x..io", False),
        ("@x.io", False),
        ("<a@x.io>", False),
        (f"{'a' * 65}@x.io", False),
        (f"a@{'x.' * 130}io", False),
    ],
)
def test_emails(email: str, valid: bool) -> None:
    assert forms.is_email(email) is valid
