from __future__ import annotations

from typing import Any

import pytest

from engage_sync.destinations.protocol import Request
from tests.unit.destinations.calls import body, call, refused, sent, skipped


def identify(traits: dict[str, Any] | None = None, **overrides: Any) -> dict[str, Any]:
    return call("identify", traits={"email": "a@x.io", **(traits or {})}, **overrides)


def test_identify_updates_the_user_with_its_traits() -> None:
    assert sent(identify({"plan": "gold", "seats": 3, "active": True, "gone": None})) == Request(
        method="POST",
        path="/api/users/update",
        budget="identify",
        body={
            "email": "a@x.io",
            "userId": "u1",
            "dataFields": {"email": "a@x.io", "plan": "gold", "seats": 3, "active": True, "gone": None},
            "mergeNestedObjects": False,
        },
    )


def test_audience_message_is_an_ordinary_identify() -> None:
    personas = {"computation_class": "audience", "computation_key": "big", "namespace": "default"}
    message = identify({"big": True}, context={"personas": personas}, integrations={"All": False, "Iterable": True})
    assert body(message)["dataFields"] == {"email": "a@x.io", "big": True}


@pytest.mark.parametrize(
    ("overrides", "email"),
    [
        ({"traits": {"email": "a@x.io"}, "context": {"traits": {"email": "b@x.io"}}}, "a@x.io"),
        ({"traits": {}, "context": {"traits": {"email": "b@x.io"}}}, "b@x.io"),
        ({"traits": {"email": None}, "context": {"traits": {"email": "b@x.io"}}}, "b@x.io"),
        ({"traits": {"email": "  "}, "context": {"traits": {"email": "b@x.io"}}}, "b@x.io"),
        ({"traits": {"email": " a@x.io "}}, "a@x.io"),
        ({"traits": {}, "userId": "c@x.io"}, "c@x.io"),
        ({"traits": {"customer_email": "a@x.io", "mail": "a@x.io", "Email": "a@x.io"}}, None),
        ({"traits": {}, "properties": {"email": "a@x.io"}}, None),
    ],
)
def test_email_comes_from_traits_then_context_then_the_user_id(overrides: dict[str, Any], email: str | None) -> None:
    assert body(call("identify", **overrides)).get("email") == email


def test_email_field_repeats_the_email_or_goes() -> None:
    assert body(call("identify", traits={"email": " a@x.io"}))["dataFields"] == {"email": "a@x.io"}
    assert body(call("identify", traits={"email": None}))["dataFields"] == {}
    beside = {"traits": {"email": "b@x.io"}}
    assert body(call("identify", traits={"email": None}, context=beside))["dataFields"] == {"email": "b@x.io"}


@pytest.mark.parametrize("email", ["nobody", "a@x", "a b@x.io", "a@x.io, b@x.io", 5, True, ["a@x.io"]])
def test_trait_that_is_no_email_is_refused_rather_than_sent_to_somebody_else(email: Any) -> None:
    assert refused(call("identify", traits={"email": email})).field == "traits.email"
    assert refused(call("identify", context={"traits": {"email": email}})).field == "context.traits.email"


@pytest.mark.parametrize(
    ("user_id", "field"),
    [
        (None, "userId"),
        ("", "userId"),
        ("u" * 53, "userId"),
        ("ü", "userId"),
        ("u1 ", "userId"),
        ({"id": 1}, "userId"),
        (True, "userId"),
    ],
)
def test_call_of_nobody_is_refused(user_id: Any, field: str) -> None:
    found = refused(call("identify", userId=user_id, anonymousId="anon", traits={"plan": "gold"}))
    assert found.field == field


@pytest.mark.parametrize("user_id", ["u" * 53, "ü", "u1 ", "a\nb", True, {"id": 1}])
def test_user_id_that_iterable_would_not_take_is_refused_by_name(user_id: Any) -> None:
    assert refused(identify(userId=user_id)).field == "userId"


@pytest.mark.parametrize(("given", "user_id"), [("u" * 52, "u" * 52), (12, "12"), (" u1", " u1"), ("  ", None)])
def test_user_id_goes_along_with_the_email(given: Any, user_id: str | None) -> None:
    assert body(identify(userId=given)).get("userId") == user_id


def test_user_id_that_serves_as_the_email_may_be_longer_than_a_user_id() -> None:
    email = "a" * 60 + "@x.io"
    assert body(call("identify", userId=email)) == {"email": email, "dataFields": {}, "mergeNestedObjects": False}
    assert refused(call("identify", userId=email, traits={"email": "a@x.io"})).field == "userId"


def test_user_without_an_email_is_preferred_by_user_id() -> None:
    nobody = call("identify", traits={"plan": "gold"})
    assert body(nobody)["preferUserId"] is True
    assert "preferUserId" not in body(nobody, prefer_user_id=False)
    assert "preferUserId" not in body(identify())


@pytest.mark.parametrize(
    ("setting", "integrations", "expected"),
    [
        (False, None, False),
        (True, None, True),
        (False, {"Iterable": {"mergeNestedObjects": True}}, True),
        (True, {"Iterable": {"mergeNestedObjects": False}}, False),
        (True, {"Iterable": {"mergeNestedObjects": "no"}}, True),
        (True, {"Iterable": True}, True),
        (True, "all", True),
    ],
)
def test_the_call_decides_on_merging_nested_objects_before_the_setting(
    setting: bool, integrations: Any, expected: bool
) -> None:
    found = body(identify(integrations=integrations), merge_nested_objects=setting)
    assert found["mergeNestedObjects"] is expected


@pytest.mark.parametrize(
    ("integrations", "left_out"),
    [
        ({"Iterable": False}, True),
        ({"All": False}, True),
        ({"All": False, "Iterable": True}, False),
        ({"All": False, "Iterable": {"mergeNestedObjects": True}}, False),
        ({"All": True}, False),
    ],
)
def test_integrations_may_leave_iterable_out(integrations: dict[str, Any], left_out: bool) -> None:
    message = identify(integrations=integrations)
    if left_out:
        assert "Iterable" in skipped(message).reason
    else:
        assert sent(message).path == "/api/users/update"


@pytest.mark.parametrize(
    ("traits", "context", "phone_number"),
    [
        ({"phone": "+1 (415) 867-5309"}, {}, "+14158675309"),
        ({"phone": "+44 020 7946 0018"}, {}, "+442079460018"),
        ({"phone": "(415) 867-5309", "country": "us"}, {}, "+14158675309"),
        ({"phone": "(415) 867-5309", "address": {"country": "US"}}, {}, "+14158675309"),
        ({"phone": "(415) 867-5309"}, {}, "(415) 867-5309"),
        ({"phone": "867-5309", "country": "US"}, {}, "867-5309"),
        ({"phone": "call me", "country": "US"}, {}, "call me"),
        ({"phone": "+999999"}, {}, "+999999"),
        ({"phone": 12121234567}, {}, "12121234567"),
        ({"phone": None}, {}, None),
        ({}, {"phone": "+14158675309"}, "+14158675309"),
        ({"phone": "+14158675309"}, {"phone": "+14158675300"}, "+14158675309"),
        ({"phoneNumber": "+14158675309"}, {"phone": "+14158675300"}, "+14158675309"),
    ],
)
def test_phone_becomes_a_phone_number(traits: dict[str, Any], context: dict[str, Any], phone_number: Any) -> None:
    fields = body(identify(traits, context={"traits": context}))["dataFields"]
    assert fields["phoneNumber"] == phone_number
    assert "phone" not in fields


def test_without_a_phone_there_is_no_phone_number() -> None:
    assert "phoneNumber" not in body(identify())["dataFields"]
    assert body(identify({"phone": ["+14158675309"]}))["dataFields"] == {"email": "a@x.io"}


CONTEXT = {
    "app": {"name": "Shop", "built": "2026-01-02T03:04:05Z"},
    "ip": "8.8.8.8",
    "locale": "en-US",
    "timezone": "Europe/Berlin",
    "library": {"name": "x"},
    "plan": "never",
}


def test_context_goes_into_the_profile_only_where_set() -> None:
    message = identify({"locale": "de"}, context=CONTEXT)
    assert body(message)["dataFields"] == {"email": "a@x.io", "locale": "de"}
    assert body(message, send_context=True)["dataFields"] == {
        "app": {"name": "Shop", "built": "2026-01-02 03:04:05 +00:00"},
        "ip": "8.8.8.8",
        "timeZone": "Europe/Berlin",
        "email": "a@x.io",
        "locale": "de",
    }


def test_fields_that_iterable_writes_itself_are_never_sent() -> None:
    managed = {"profileUpdatedAt": "x", "itblInternal": {}, "signupDate": "x", "emailListIds": [1]}
    assert body(identify(managed))["dataFields"] == {"email": "a@x.io"}


def test_names_of_fields_go_as_they_are() -> None:
    names = {"a b": 1, "Über uns": {"#1": {"": 2}}}
    assert body(identify(names))["dataFields"] == {"email": "a@x.io", **names}


@pytest.mark.parametrize(
    ("traits", "field"),
    [
        ({"ok": 1, "address.city": "Bern"}, "traits.address.city"),
        ({"address": {"geo.lat": 1.5}}, "traits.address.geo.lat"),
        ({"places": [{"ok": 1}, {"a.b": None}]}, "traits.places[1].a.b"),
        ({".": 1}, "traits.."),
    ],
)
def test_name_with_a_period_is_refused_by_its_path(traits: Any, field: str) -> None:
    found = refused(identify(traits))
    assert found.field == field
    assert "period" in found.reason


def test_name_of_a_field_that_is_never_sent_may_be_anything() -> None:
    assert body(identify({"itblInternal": {"a.b": 1}}))["dataFields"] == {"email": "a@x.io"}


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (float("nan"), "traits.bad"),
        (float("inf"), "traits.bad"),
        ([float("-inf")], "traits.bad[0]"),
        ({"a": float("nan")}, "traits.bad.a"),
        (10**400, "traits.bad"),
    ],
    ids=["nan", "inf", "in a list", "in an object", "10^400"],
)
def test_number_that_json_or_a_double_has_not_is_refused(value: Any, field: str) -> None:
    assert refused(identify({"bad": value})).field == field


def test_traits_that_are_no_object_are_refused() -> None:
    assert refused(call("identify", traits=["a"])).field == "traits"


def test_nesting_without_end_is_refused() -> None:
    deep: Any = 1
    for _ in range(5000):
        deep = [deep]
    found = refused(identify({"deep": deep}))
    assert found.reason == "nested deeper than 100 levels"
    assert found.field is not None
    assert found.field.startswith("traits.deep[0]")
    assert len(found.field) <= 201


def test_integer_beyond_a_long_becomes_a_double() -> None:
    assert body(identify({"big": 2**63, "fits": 2**63 - 1}))["dataFields"] == {
        "email": "a@x.io",
        "big": 9.223372036854775808e18,
        "fits": 2**63 - 1,
    }


def test_group_is_skipped_and_says_so() -> None:
    assert "group" in skipped(call("group", groupId="g1")).reason


def test_unknown_type_is_refused() -> None:
    for kind in ("", "Identify", "delete"):
        assert refused(call(kind)).field == "type"
    assert refused({}).field == "type"
    assert refused({"type": ["track"]}).field == "type"


@pytest.mark.parametrize(
    ("project_type", "previous", "path", "expected"),
    [
        ("email", "a@x.io", "/api/users/updateEmail", {"currentEmail": "a@x.io", "newEmail": "b@x.io"}),
        ("email", "u1", "/api/users/updateEmail", {"currentUserId": "u1", "newEmail": "b@x.io"}),
        ("hybrid", "u1", "/api/users/update", {"userId": "u1", "dataFields": {"email": "b@x.io"}}),
        ("hybrid", "a@x.io", "/api/users/update", {"email": "a@x.io", "dataFields": {"email": "b@x.io"}}),
        ("user_id", "u1", "/api/users/update", {"userId": "u1", "email": "b@x.io", "dataFields": {"email": "b@x.io"}}),
    ],
)
def test_alias_changes_the_email(project_type: str, previous: str, path: str, expected: dict[str, Any]) -> None:
    message = call("alias", previousId=previous, userId="b@x.io")
    request = sent(message, project_type=project_type, email_change="update")
    assert (request.path, request.body) == (path, expected)


def test_alias_without_two_usable_ids_is_not_sent() -> None:
    assert "email" in skipped(call("alias", previousId="anon-1", userId="u1"), email_change="update").reason
    assert refused(call("alias", userId="b@x.io"), email_change="update").field == "previousId"
    message = call("alias", previousId="a@x.io", userId="b@x.io")
    assert refused(message, email_change="update", project_type="user_id").field == "previousId"


def test_new_email_is_a_new_user_unless_set_otherwise() -> None:
    assert "email_change: update" in skipped(call("alias", previousId="a@x.io", userId="b@x.io")).reason
