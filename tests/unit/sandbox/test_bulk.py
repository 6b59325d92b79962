"""Bulk requests: each entry may fail for itself, unless the whole request is wrong."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from engage_sync.sandbox import forms
from engage_sync.sandbox.answers import Failure
from engage_sync.sandbox.options import BULK_UPDATE, TRACK_BULK, USERS_FORGET, USERS_UPDATE, Options, ProjectType
from engage_sync.sandbox.project import Project

NOW = 1_700_000_000


def project(project_type: ProjectType = "email", **options: Any) -> Project:
    return Project(Options(project_type=project_type, **options))


def update(found: Project, *users: dict[str, Any], **body: Any) -> dict[str, Any]:
    return _answer(found, BULK_UPDATE, {"users": list(users), **body})


def track(found: Project, *events: dict[str, Any]) -> dict[str, Any]:
    return _answer(found, TRACK_BULK, {"events": [{"eventName": "E", **event} for event in events]})


def failed(answer: dict[str, Any]) -> dict[str, list[str]]:
    """The lists of what failed that aren't empty."""
    return {name: identifiers for name, identifiers in answer["failedUpdates"].items() if identifiers}


def test_users_are_updated_in_order_and_counted() -> None:
    found = project()
    answer = update(
        found,
        {"email": "a@x.io", "dataFields": {"plan": "gold"}},
        {"userId": "u1", "preferUserId": True},
        {"email": "a@x.io", "dataFields": {"plan": None, "n": 1}},
    )
    assert (answer["successCount"], answer["failCount"], failed(answer)) == (3, 0, {})
    assert answer["createdFields"] == ["n", "plan"]
    assert [(user.user_id, user.data_fields) for user in found.users] == [(None, {"n": 1}), ("u1", {})]


def test_what_fails_is_listed_by_its_identifier_and_the_rest_is_done() -> None:
    found = project()
    _answer(found, USERS_FORGET, {"email": "gone@x.io"})
    answer = update(
        found,
        {"email": "nobody"},
        {"userId": "ü"},
        {"userId": "unknown"},
        {"email": "gone@x.io"},
        {"email": "b@x.io", "dataFields": {"email": "c@x.io"}},
        {"email": "b@x.io", "dataFields": {"email": "nobody"}},
        {"email": "a@x.io"},
    )
    assert (answer["successCount"], answer["failCount"]) == (1, 6)
    assert failed(answer) == {
        "invalidEmails": ["nobody"],
        "invalidUserIds": ["ü", "unknown"],
        "forgottenEmails": ["gone@x.io"],
        "invalidDataEmails": ["c@x.io", "nobody"],
    }
    assert (answer["invalidEmails"], answer["invalidUserIds"]) == (["nobody"], ["ü", "unknown"])
    assert [user.email for user in found.users] == ["a@x.io"]


def test_conflicts_of_a_hybrid_project_are_listed() -> None:
    found = project("hybrid")
    update(found, {"email": "a@x.io", "userId": "u1"}, {"email": "b@x.io", "userId": "u2"})
    answer = update(found, {"email": "c@x.io", "userId": "u1"}, {"email": "a@x.io", "userId": "u3"})
    assert failed(answer) == {"conflictUserIds": ["u1"], "conflictEmails": ["a@x.io"]}


def test_update_only_makes_nobody() -> None:
    found = project()
    assert update(found, {"email": "a@x.io"}, updateOnly=True)["successCount"] == 1
    assert len(found.users) == 0


@pytest.mark.parametrize("later", [{"n": "text"}, {"n": 1.5}, {"n": {"a": 1}}])
def test_mismatch_of_types_refuses_the_whole_request(later: dict[str, Any]) -> None:
    found = project()
    users = [{"email": "a@x.io", "dataFields": {"n": 1}}, {"email": "b@x.io", "dataFields": later}]
    answer = found.act(BULK_UPDATE, {"users": users}, NOW)
    assert isinstance(answer, Failure)
    assert answer.code == "RequestFieldsTypesMismatched"
    assert len(found.users) == 0
    assert found.profile_types.known() == {}


def test_events_are_tracked_and_counted() -> None:
    found = project(disallowed_events=frozenset({"Noise"}))
    _answer(found, USERS_UPDATE, {"email": "a@x.io", "userId": "u1"})
    answer = track(
        found,
        {"email": "a@x.io", "id": "m1", "createdAt": 5},
        {"userId": "u1", "id": "m2", "createdAt": 6},
        {"email": "x", "id": "m3"},
        {"userId": "u9", "id": "m4"},
        {"email": "a@x.io", "eventName": "Noise", "id": "m5"},
        {"email": "a@x.io", "id": "m1", "createdAt": 7},
    )
    assert (answer["successCount"], answer["failCount"]) == (3, 3)
    assert failed(answer) == {"invalidEmails": ["x"], "notFoundUserIds": ["u9"]}
    assert answer["disallowedEventNames"] == ["Noise"]
    assert [(event.id, event.created_at, event.repeats) for event in found.events.values()] == [
        ("m1", 7, 1),
        ("m2", 6, 0),
    ]


@pytest.mark.parametrize(
    ("path", "body", "code", "where"),
    [
        (BULK_UPDATE, {"users": {}}, "BadJsonBody", "obj.users"),
        (BULK_UPDATE, {"users": [{"email": "a@x.io"}, 5]}, "BadJsonBody", "obj.users[1]"),
        (BULK_UPDATE, {"users": [{"email": 5}]}, "BadJsonBody", "obj.users[0].email"),
        (BULK_UPDATE, {"users": [{}]}, "BadParams", "obj.users[0]"),
        (
            BULK_UPDATE,
            {"users": [{"email": "a@x.io", "createNewFields": True}]},
            "BadParams",
            "obj.users[0].createNewFields",
        ),
        (
            BULK_UPDATE,
            {"users": [{"email": "a@x.io", "dataFields": {"a.b": 1}}]},
            "BadParams",
            "obj.users[0].dataFields.a.b",
        ),
        (TRACK_BULK, {"events": [{"email": "a@x.io"}]}, "BadJsonBody", "obj.events[0].eventName"),
        (
            TRACK_BULK,
            {"events": [{"eventName": "E", "userId": "u", "createdAt": "1"}]},
            "BadJsonBody",
            "obj.events[0].createdAt",
        ),
        (
            TRACK_BULK,
            {"events": [{"eventName": "E", "userId": "u", "preferUserId": True}]},
            "BadParams",
            "obj.events[0].preferUserId",
        ),
    ],
)
def test_entry_of_the_wrong_form_refuses_the_whole_request(path: str, body: Any, code: str, where: str) -> None:
    failure = forms.check(path, body)
    assert failure is not None
    assert (failure.status, failure.code) == (400, code)
    assert where in (failure.params or {})


def test_more_entries_than_a_request_may_have_are_too_many() -> None:
    users = [{"email": f"u{number}@x.io"} for number in range(forms.MAX_ENTRIES + 1)]
    failure = forms.check(BULK_UPDATE, {"users": users})
    assert failure is not None
    assert (failure.status, failure.code) == (413, "BatchTooLarge")
    assert forms.check(BULK_UPDATE, {"users": users[1:]}) is None


def _answer(found: Project, path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = found.act(path, body, NOW)
    assert isinstance(answer, bytes), answer
    read: dict[str, Any] = orjson.loads(answer)
    return read
