from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import orjson
import pytest

from engage_sync.messages import ids
from engage_sync.messages.message import Message, Subject
from engage_sync.messages.render import Sender, render

INSTALLATION = UUID("00000000-0000-4000-8000-000000000001")
SENDER = Sender(
    installation=INSTALLATION,
    space_slug="default",
    space_id="spa_x",
    destination_slug="iterable",
    integration="Iterable",
)
AUDIENCE = Subject(public_id="aud_1", kind="audience", key="buyers", track={"entered": "In", "exited": "Out"})
TRAIT = Subject(public_id="tra_1", kind="computed_trait", key="total", track={"computed": "Trait Computed"})


def message(**changes: Any) -> Message:
    usual: dict[str, Any] = {
        "id": 1,
        "destination_id": 1,
        "profile_id": 1,
        "definition_id": 1,
        "identity_type": "email",
        "identity_value": "ann@x.io",
        "call_type": "identify",
        "value": True,
        "told_version": 1,
        "as_of": datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
        "user_id": None,
        "subject": AUDIENCE,
    }
    return Message(**{**usual, **changes})


def personas(kind: str, subject: Subject) -> dict[str, str]:
    return {
        "computation_class": kind,
        "computation_id": subject.public_id,
        "computation_key": subject.key,
        "namespace": "default",
        "space_id": "spa_x",
    }


def rendered(**changes: Any) -> dict[str, Any]:
    call = render(message(**changes), SENDER)
    assert call is not None
    assert call.pop("messageId").startswith("personas_")
    return call


def test_audience_as_identify() -> None:
    assert rendered(user_id="u1") == {
        "type": "identify",
        "userId": "u1",
        "timestamp": "2026-01-02T03:04:05.678Z",
        "traits": {"buyers": True, "email": "ann@x.io"},
        "context": {"personas": personas("audience", AUDIENCE)},
        "integrations": {"All": False, "Iterable": True},
    }


@pytest.mark.parametrize(("value", "event"), [(True, "In"), (False, "Out")])
def test_audience_as_track(value: bool, event: str) -> None:
    assert rendered(call_type="track", value=value) == {
        "type": "track",
        "event": event,
        "timestamp": "2026-01-02T03:04:05.678Z",
        "properties": {"audience_key": "buyers", "buyers": value},
        "context": {"traits": {"email": "ann@x.io"}, "personas": personas("audience", AUDIENCE)},
        "integrations": {"All": False, "Iterable": True},
    }


def test_trait_as_identify_and_track() -> None:
    identify = rendered(subject=TRAIT, value=120.0)
    assert identify["traits"] == {"total": 120.0, "email": "ann@x.io"}
    assert identify["context"] == {"personas": personas("trait", TRAIT)}
    track = rendered(subject=TRAIT, value=120.0, call_type="track")
    assert (track["event"], track["properties"]) == ("Trait Computed", {"trait_key": "total", "total": 120.0})


def test_float_stays_a_float_and_null_stays_null() -> None:
    assert b'"total":120.0' in orjson.dumps(rendered(subject=TRAIT, value=orjson.loads("120.0")))
    assert rendered(subject=TRAIT, value=None)["traits"] == {"total": None, "email": "ann@x.io"}


@pytest.mark.parametrize("call_type", ["identify", "track"])
def test_user_id_is_told_without_an_email(call_type: str) -> None:
    call = rendered(identity_type="user_id", identity_value="u1", call_type=call_type)
    assert call["userId"] == "u1"
    assert "email" not in call.get("traits", {})
    assert "traits" not in call["context"]


def test_event_that_has_no_name_is_not_told() -> None:
    only_entered = replace(AUDIENCE, track={"entered": "In"})
    assert render(message(subject=only_entered, call_type="track", value=False), SENDER) is None
    assert render(message(subject=None), SENDER) is None


def test_instant_leaves_in_utc() -> None:
    there = datetime(2026, 1, 2, 5, 4, 5, tzinfo=timezone(timedelta(hours=2)))
    assert rendered(as_of=there)["timestamp"] == "2026-01-02T03:04:05.000Z"


def test_message_id_is_the_same_each_time_and_differs_by_each_part() -> None:
    parts: dict[str, Any] = {
        "installation": INSTALLATION,
        "destination": "iterable",
        "definition": "aud_1",
        "identity_type": "email",
        "identity_value": "ann@x.io",
        "call_type": "identify",
        "told_version": 1,
    }
    first = ids.message_id(**parts)
    # Fixed for ever: a new version of engage-sync must not send again what an older one sent.
    assert first == "personas_beohcnlhh4el46ocerhcmpvslsn"
    others = {
        name: ids.message_id(**{**parts, name: other})
        for name, other in {
            "installation": UUID(int=2),
            "destination": "other",
            "definition": "aud_2",
            "identity_type": "user_id",
            "identity_value": "bob@x.io",
            "call_type": "track",
            "told_version": 2,
        }.items()
    }
    assert len({first, *others.values()}) == len(parts) + 1
    assert len(first) == len("personas_") + 27
