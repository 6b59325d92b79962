"""Users that are forgotten, deleted or merged."""

from __future__ import annotations

from typing import Any

import pytest

from engage_sync.sandbox import leaving
from engage_sync.sandbox.answers import Failure
from engage_sync.sandbox.options import (
    EVENTS_TRACK,
    TRACK_PURCHASE,
    UPDATE_CART,
    UPDATE_EMAIL,
    USERS_FORGET,
    USERS_MERGE,
    USERS_UPDATE,
    Options,
    ProjectType,
)
from engage_sync.sandbox.project import Project

ANN = {"email": "a@x.io", "userId": "u1"}


def project(project_type: ProjectType = "email") -> Project:
    """Ann and Bob, with an event each."""
    found = Project(Options(project_type=project_type))
    for email, user_id in (("a@x.io", "u1"), ("b@x.io", "u2")):
        act(found, USERS_UPDATE, email=email, userId=user_id, dataFields={"tags": [user_id], user_id: 1})
        act(found, EVENTS_TRACK, email=email, userId=user_id, eventName="E", id=f"of {user_id}", createdAt=5)
    return found


def act(found: Project, path: str, **body: Any) -> str:
    """The code of the answer."""
    return code(found.act(path, body, 1_700_000_000))


def code(answer: bytes | Failure) -> str:
    return answer.code if isinstance(answer, Failure) else "Success"


def emails(found: Project) -> list[str | None]:
    return [user.email for user in found.users]


@pytest.mark.parametrize("who", [{"email": "A@x.io"}, {"userId": "u1"}])
def test_forgotten_user_goes_with_events_and_takes_no_data_any_more(who: dict[str, str]) -> None:
    found = project()
    assert act(found, USERS_FORGET, **who) == "Success"
    assert (emails(found), list(found.events)) == (["b@x.io"], ["of u2"])
    for path, body in (
        (USERS_UPDATE, {"email": "a@x.io"}),
        (USERS_UPDATE, {"userId": "u1", "preferUserId": True}),
        (EVENTS_TRACK, {"email": "a@x.io", "eventName": "E"}),
        (TRACK_PURCHASE, {"user": ANN, "items": [], "total": 1}),
        (UPDATE_CART, {"user": ANN, "items": []}),
        (UPDATE_EMAIL, {"currentEmail": "b@x.io", "newEmail": "a@x.io"}),
    ):
        assert act(found, path, **body) == "ForgottenUserError", path
    assert emails(found) == ["b@x.io"]


def test_who_is_unknown_can_be_forgotten_before_their_data_comes() -> None:
    found = project()
    assert act(found, USERS_FORGET, email="c@x.io") == "Success"
    assert act(found, USERS_UPDATE, email="c@x.io") == "ForgottenUserError"


def test_deleted_user_may_come_back() -> None:
    found = project()
    assert code(leaving.delete(found, email="a@x.io")) == "Success"
    assert (emails(found), list(found.events)) == (["b@x.io"], ["of u2"])
    assert act(found, USERS_UPDATE, email="a@x.io") == "Success"
    assert code(leaving.delete(found, email="n@x.io")) == "BadParams"


def test_deleting_a_user_id_deletes_all_who_share_it() -> None:
    found = project()
    act(found, USERS_UPDATE, email="c@x.io", userId="u1")
    assert code(leaving.delete(found, user_id="u1")) == "Success"
    assert emails(found) == ["b@x.io"]
    assert code(leaving.delete(found, user_id="u1")) == "BadParams"


def test_user_id_project_deletes_by_user_id_only() -> None:
    found = project("user_id")
    assert code(leaving.delete(found, email="a@x.io")) == "BadParams"
    assert code(leaving.delete(found, user_id="u1")) == "Success"
    assert (emails(found), list(found.events)) == (["b@x.io"], ["of u2"])


def test_merged_user_leaves_events_and_fields_to_the_other() -> None:
    found = project()
    merge = {"sourceEmail": "a@x.io", "destinationUserId": "u2", "arrayMerge": [{"field": "tags"}]}
    assert act(found, USERS_MERGE, **merge) == "Success"
    (bob,) = found.users
    assert (bob.email, bob.data_fields) == ("b@x.io", {"tags": ["u2", "u1"], "u1": 1, "u2": 1})
    assert {event.id for event in found.events_of("b@x.io")} == {"of u1", "of u2"}
    assert found.events_of("a@x.io") == []


@pytest.mark.parametrize(
    ("source", "destination", "expected"),
    [
        ("a@x.io", "a@x.io", "BadParams"),
        ("n@x.io", "a@x.io", "UnknownEmailError"),
        ("a@x.io", "n@x.io", "UnknownEmailError"),
    ],
)
def test_merge_needs_two_known_users(source: str, destination: str, expected: str) -> None:
    found = project()
    assert act(found, USERS_MERGE, sourceEmail=source, destinationEmail=destination) == expected
    assert emails(found) == ["a@x.io", "b@x.io"]
