from __future__ import annotations

from typing import Any

import pytest

from engage_sync.sandbox.answers import Failure
from engage_sync.sandbox.options import (
    EVENTS_TRACK,
    TRACK_PURCHASE,
    UPDATE_CART,
    UPDATE_EMAIL,
    USERS_UPDATE,
    Options,
    ProjectType,
)
from engage_sync.sandbox.project import Project

ITEM = {"id": "p1", "name": "Tea", "price": 4.5, "quantity": 2}


def project(project_type: ProjectType = "email") -> Project:
    return Project(Options(project_type=project_type))


def act(found: Project, path: str, **body: Any) -> str:
    """The code of the answer."""
    answer = found.act(path, body, 1_700_000_000)
    return answer.code if isinstance(answer, Failure) else "Success"


def people(found: Project) -> list[tuple[str | None, str | None, dict[str, Any]]]:
    return [(user.email, user.user_id, user.data_fields) for user in found.users]


def test_users_are_known_by_email_in_any_case() -> None:
    found = project()
    act(found, USERS_UPDATE, email="a@x.io", dataFields={"a": 1})
    act(found, USERS_UPDATE, email="A@X.io", userId="u1", dataFields={"b": 2})
    act(found, USERS_UPDATE, userId="u1", dataFields={"c": 3})
    assert people(found) == [("A@X.io", "u1", {"a": 1, "b": 2, "c": 3})]


def test_unknown_user_id_needs_prefer_user_id() -> None:
    found = project()
    assert act(found, USERS_UPDATE, userId="u1") == "UnknownUserIdError"
    assert act(found, USERS_UPDATE, userId="u1", preferUserId=True) == "Success"
    (user,) = found.users
    assert user.placeholder


def test_first_email_succeeds_the_placeholder() -> None:
    found = project()
    act(found, USERS_UPDATE, userId="u1", preferUserId=True, dataFields={"a": 1})
    act(found, USERS_UPDATE, userId="u1", email="a@x.io")
    act(found, USERS_UPDATE, userId="u1", email="b@x.io")
    assert people(found) == [("a@x.io", "u1", {"a": 1}), ("b@x.io", "u1", {})]


def test_null_clears_a_field() -> None:
    found = project()
    act(found, USERS_UPDATE, email="a@x.io", dataFields={"a": 1, "b": 2})
    act(found, USERS_UPDATE, email="a@x.io", dataFields={"a": None, "never": None})
    assert people(found) == [("a@x.io", None, {"b": 2})]


@pytest.mark.parametrize(("merge", "expected"), [(False, {"y": 2}), (True, {"x": 1, "y": 2})])
def test_objects_are_replaced_or_merged(merge: bool, expected: dict[str, int]) -> None:
    found = project()
    act(found, USERS_UPDATE, email="a@x.io", dataFields={"o": {"x": 1}})
    act(found, USERS_UPDATE, email="a@x.io", dataFields={"o": {"y": 2}}, mergeNestedObjects=merge)
    assert people(found) == [("a@x.io", None, {"o": expected})]


def test_refused_request_changes_nothing() -> None:
    found = project()
    act(found, USERS_UPDATE, email="a@x.io", dataFields={"a": 1})
    assert act(found, USERS_UPDATE, email="b@x.io", dataFields={"a": "x", "c": 1}) == "RequestFieldsTypesMismatched"
    assert act(found, USERS_UPDATE, userId="u9", dataFields={"d": 1}) == "UnknownUserIdError"
    act(found, EVENTS_TRACK, email="a@x.io", eventName="E", dataFields={"v": 1})
    code = act(found, TRACK_PURCHASE, user={"email": "n@x.io"}, items=[], total=1, dataFields={"v": "x"})
    assert code == "RequestFieldsTypesMismatched"
    assert people(found) == [("a@x.io", None, {"a": 1})]
    assert found.profile_types.known() == {"a": "long"}
    assert len(found.events) == 1


def test_event_with_the_same_id_is_changed_and_counted() -> None:
    found = project()
    act(found, USERS_UPDATE, email="a@x.io")
    for value in (1, 2, 3):
        act(found, EVENTS_TRACK, email="a@x.io", eventName="E", id="m1", dataFields={"v": value})
    act(found, EVENTS_TRACK, email="a@x.io", eventName="E", id="m2")
    act(found, EVENTS_TRACK, email="a@x.io", eventName="E")
    assert (len(found.events), found.repeats, found.events["m1"].repeats) == (3, 2, 2)
    assert found.events["m1"].data_fields == {"v": 3}
    assert len(found.events_of("A@x.io")) == 3


def test_event_makes_no_user_in_an_email_project() -> None:
    found = project()
    assert act(found, EVENTS_TRACK, email="a@x.io", eventName="E") == "Success"
    assert act(found, EVENTS_TRACK, userId="u1", eventName="E") == "UnknownUserIdError"
    assert (len(found.users), len(found.events)) == (0, 1)


def test_event_makes_a_user_in_the_other_projects() -> None:
    for project_type in ("user_id", "hybrid"):
        found = project(project_type)
        assert act(found, EVENTS_TRACK, userId="u1", eventName="E") == "Success"
        assert people(found) == [(None, "u1", {})]


def test_purchase_is_an_event_and_clears_the_cart() -> None:
    found = project()
    act(found, UPDATE_CART, user={"email": "a@x.io"}, items=[ITEM])
    assert people(found) == [("a@x.io", None, {"shoppingCartItems": [ITEM]})]
    for _ in range(2):
        act(found, TRACK_PURCHASE, id="o1", user={"email": "a@x.io"}, items=[ITEM], total=9)
    assert people(found) == [("a@x.io", None, {})]
    assert (len(found.events), found.repeats, found.events["o1"].rest["total"]) == (1, 1, 9)


def test_email_changes() -> None:
    found = project()
    act(found, USERS_UPDATE, email="a@x.io", userId="u1", dataFields={"a": 1, "email": "a@x.io"})
    act(found, USERS_UPDATE, email="c@x.io")
    act(found, EVENTS_TRACK, email="a@x.io", eventName="Seen", id="e1")
    assert act(found, UPDATE_EMAIL, currentEmail="a@x.io", newEmail="b@x.io") == "Success"
    assert [event.id for event in found.events_of("b@x.io")] == [event.id for event in found.events_of("u1")] == ["e1"]
    assert found.events_of("a@x.io") == []
    assert act(found, UPDATE_EMAIL, currentEmail="a@x.io", newEmail="b@x.io") == "UnknownEmailError"
    assert act(found, UPDATE_EMAIL, currentUserId="u9", newEmail="b@x.io") == "UnknownUserIdError"
    assert act(found, UPDATE_EMAIL, currentUserId="u1", newEmail="c@x.io") == "EmailAlreadyExists"
    assert people(found) == [("b@x.io", "u1", {"a": 1, "email": "b@x.io"}), ("c@x.io", None, {})]


def test_hybrid_project_keeps_email_and_user_id_unique() -> None:
    found = project("hybrid")
    act(found, USERS_UPDATE, userId="u1")
    act(found, USERS_UPDATE, userId="u1", email="a@x.io")
    act(found, USERS_UPDATE, email="b@x.io", userId="u2")
    assert act(found, USERS_UPDATE, email="c@x.io", userId="u1") == "UserIdAlreadyExists"
    assert act(found, USERS_UPDATE, email="a@x.io", userId="u9") == "ExternalKeyConflict"
    assert act(found, USERS_UPDATE, userId="u1", dataFields={"email": "b@x.io"}) == "EmailAlreadyExists"
    assert act(found, USERS_UPDATE, userId="u1", dataFields={"email": "d@x.io"}) == "Success"
    assert [(user.email, user.user_id) for user in found.users] == [("d@x.io", "u1"), ("b@x.io", "u2")]


def test_user_id_project_may_share_emails() -> None:
    found = project("user_id")
    act(found, USERS_UPDATE, userId="u1", email="a@x.io")
    act(found, USERS_UPDATE, userId="u2", email="a@x.io")
    act(found, USERS_UPDATE, userId="u1", email="b@x.io", dataFields={"email": "b@x.io"})
    assert act(found, USERS_UPDATE, email="n@x.io") == "UnknownEmailError"
    assert [(user.email, user.user_id) for user in found.users] == [("b@x.io", "u1"), ("a@x.io", "u2")]
