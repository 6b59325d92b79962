"""The demo's comparison finds what it is there to find."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

DEMO = Path(__file__).parents[2] / "examples" / "demo"


@pytest.fixture
def comparison(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(DEMO))
    import comparison

    return comparison


def test_a_sandbox_that_holds_what_the_snapshot_says_has_no_differences(comparison: Any) -> None:
    members = [{"user_id": "u1", "emails": ["a@x.io", "b@x.io"]}, {"user_id": "u2", "emails": []}]
    told = audience(comparison, members)
    users = [
        user("a@x.io", "u1", big=True),
        user("b@x.io", "u1", big=True),
        user("0@placeholder.email", "u2", big=True),
    ]
    users += [user("c@x.io", "u3", big=False), user("d@x.io", "u4")]
    events = [event("Entered", "a@x.io"), event("Entered", "b@x.io"), event("Entered", None, "u2")]
    events += [event("Entered", "c@x.io"), event("Exited", "c@x.io")]
    assert comparison.compare([told], users, events) == (10, [])


@pytest.mark.parametrize(
    ("users", "events"),
    [
        pytest.param([], ["Entered"], id="a member never told"),
        pytest.param([{"big": False}], ["Entered"], id="a member told false"),
        pytest.param([{"big": True}], [], id="an event missing"),
        pytest.param([{"big": True}], ["Entered", "Entered"], id="an event twice"),
        pytest.param([{"big": True}], ["Entered", "Exited"], id="an event too many"),
    ],
)
def test_a_member_not_told_so_is_a_difference(comparison: Any, users: list[Any], events: list[str]) -> None:
    told = audience(comparison, [{"user_id": "u1", "emails": ["a@x.io"]}])
    held = [user("a@x.io", "u1", **fields) for fields in users]
    _, differences = comparison.compare([told], held, [event(name, "a@x.io") for name in events])
    assert len(differences) == 1


def test_somebody_still_told_who_is_no_member_is_a_difference(comparison: Any) -> None:
    told = audience(comparison, [])
    _, differences = comparison.compare([told], [user("a@x.io", "u1", big=True)], [event("Entered", "a@x.io")])
    assert differences == [
        "big of a@x.io: the snapshot says None, the sandbox True",
        "big of a@x.io: the snapshot says False, the events add up to 1",
    ]


def audience(comparison: Any, members: list[dict[str, Any]]) -> Any:
    return comparison.Told(
        key="big",
        is_audience=True,
        identify=True,
        entered="Entered",
        exited="Exited",
        values=comparison.values(members),
    )


def user(email: str, user_id: str, **fields: Any) -> dict[str, Any]:
    return {"email": email, "userId": user_id, "dataFields": fields}


def event(name: str, email: str | None, user_id: str = "u") -> dict[str, Any]:
    return {"eventName": name, "email": email, "userId": user_id, "dataFields": {"audience_key": "big"}}
