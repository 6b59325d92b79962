from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from engage_sync.messages.forwarded import forwardable, known_as
from engage_sync.messages.message import Message
from engage_sync.messages.render import Sender, render

SENDER = Sender(
    installation=UUID(int=1), space_slug="shop", space_id="spa_1", destination_slug="iterable", integration="Iterable"
)


def message(call: dict[str, Any], source: str | None = "web") -> Message:
    return Message(
        id=1, destination_id=1, profile_id=1, definition_id=None, identity_type="user_id", identity_value="u1",
        call_type=call["type"], value=None, told_version=None, as_of=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        user_id="u1", subject=None, source=source, call=call,
    )  # fmt: skip


def test_a_forwarded_call_is_the_source_s_own_under_our_id_and_instant() -> None:
    call = {"type": "track", "event": "Seen", "userId": "u1", "messageId": "m1", "timestamp": "?", "integrations": {}}
    rendered = render(message(call), SENDER)
    assert rendered is not None
    assert rendered.pop("messageId").startswith("forwarded_")
    assert rendered == {
        "type": "track", "event": "Seen", "userId": "u1", "timestamp": "2026-01-02T03:04:05.000Z", "integrations": {},
    }  # fmt: skip


def test_ids_hang_on_source_message_destination_and_installation_alone() -> None:
    def id_of(sender: Sender = SENDER, source: str = "web", message_id: str = "m1", user: str = "u1") -> str:
        made = render(message({"type": "track", "userId": user, "messageId": message_id}, source), sender)
        assert made is not None
        return str(made["messageId"])

    assert id_of() == id_of(user="u2")
    others = [
        id_of(source="app"),
        id_of(message_id="m2"),
        id_of(replace(SENDER, destination_slug="other")),
        id_of(replace(SENDER, installation=UUID(int=2))),
    ]
    assert len({id_of(), *others}) == 5


@pytest.mark.parametrize(
    "call",
    [
        {"type": "track", "userId": "u1"},
        {"type": "identify", "traits": {"email": "a@x.io"}},
        {"type": "page", "context": {"traits": {"email": "a@x.io"}}},
        {"type": "track", "properties": {"email": "a@x.io"}, "anonymousId": "a"},
        {"type": "track", "context": {"externalIds": [{"type": "email", "id": "a@x.io"}]}},
    ],
)
def test_whoever_is_known_is_passed_on(call: dict[str, Any]) -> None:
    assert forwardable(call) == call


@pytest.mark.parametrize(
    "call",
    [
        {"type": "track", "anonymousId": "a"},
        {"type": "track", "anonymousId": "a", "userId": "null"},
        {"type": "group", "anonymousId": "a", "traits": {"email": "firm@x.io"}},
        {"type": "identify", "anonymousId": "a", "traits": {"email": "null@null.com"}},
        {"type": "track", "anonymousId": "a", "context": {"traits": "none", "externalIds": [{"type": "x", "id": "y"}]}},
    ],
)
def test_anonymous_calls_are_for_nobody(call: dict[str, Any]) -> None:
    assert forwardable(call) is None


def test_what_stands_for_nobody_is_left_out_of_a_copy() -> None:
    context = {"traits": {"email": "noreply@example.com", "plan": "gold"}, "ip": "::1"}
    call = {"type": "identify", "userId": "undefined", "traits": {"email": "a@x.io"}, "context": context}
    assert forwardable(call) == {
        "type": "identify",
        "traits": {"email": "a@x.io"},
        "context": {"traits": {"plan": "gold"}, "ip": "::1"},
    }
    assert call["userId"] == "undefined"


@pytest.mark.parametrize(
    ("call", "name"),
    [
        ({"type": "track", "event": "Seen", "name": "x"}, "Seen"),
        ({"type": "page", "name": "Home"}, "Home"),
        ({"type": "page", "name": 5}, None),
        ({"type": "identify"}, None),
    ],
)
def test_calls_are_known_by_their_names(call: dict[str, Any], name: str | None) -> None:
    assert known_as(call) == name
