"""From a message to the Segment call that Engage would send."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

from engage_sync.messages import ids
from engage_sync.messages.message import Message, Subject


@dataclass(frozen=True, kw_only=True, slots=True)
class Sender:
    """Who speaks, and to whom.

    `integration` is the destination's name as calls address it ("Iterable"); without one they address nobody.
    """

    installation: UUID
    space_slug: str
    space_id: str
    destination_slug: str
    integration: str | None


def render(message: Message, sender: Sender) -> dict[str, Any] | None:
    """The Segment call; None where the definition's version names no event for what happened, or is gone."""
    if message.call is not None:
        return _passed_on(message, message.call, sender)
    subject = message.subject
    if subject is None or message.told_version is None:
        return None
    email = message.identity_value if message.identity_type == "email" else None
    call: dict[str, Any] = {"type": message.call_type}
    user_id = message.identity_value if message.identity_type == "user_id" else message.user_id
    if user_id is not None:
        call["userId"] = user_id
    call["messageId"] = ids.message_id(
        installation=sender.installation,
        destination=sender.destination_slug,
        definition=subject.public_id,
        identity_type=message.identity_type,
        identity_value=message.identity_value,
        call_type=message.call_type,
        told_version=message.told_version,
    )
    call["timestamp"] = _instant(message.as_of)
    context: dict[str, Any] = {"personas": _personas(subject, sender)}
    if message.call_type == "track":
        event = _event(subject, message.value)
        if event is None:
            return None
        call["event"] = event
        call["properties"] = {_key_name(subject): subject.key, **_traits(subject, message.value)}
        if email is not None:
            context = {"traits": {"email": email}, **context}
    else:
        call["traits"] = _traits(subject, message.value)
        if email is not None:
            # Last, so that an audience with the key "email" can't change whom the call is about.
            call["traits"]["email"] = email
    call["context"] = context
    if sender.integration is not None:
        call["integrations"] = {"All": False, sender.integration: True}
    return call


def _traits(subject: Subject, value: Any) -> dict[str, Any]:
    return dict(value) if subject.is_row else {subject.key: value}


def _passed_on(message: Message, call: dict[str, Any], sender: Sender) -> dict[str, Any]:
    """The call as it came, at the instant that stands for its own, under the id by which this destination knows it."""
    passed_on = {**call, "timestamp": _instant(message.as_of)}
    if message.source is not None:
        passed_on["messageId"] = ids.forwarded_id(
            installation=sender.installation,
            destination=sender.destination_slug,
            source=message.source,
            message_id=call["messageId"],
        )
    return passed_on


def _event(subject: Subject, value: Any) -> str | None:
    """The name of the event, None where this one isn't told. A name that isn't given is not told."""
    happened = ("entered" if value is True else "exited") if subject.kind == "audience" else "computed"
    return (subject.track or {}).get(happened)


def _key_name(subject: Subject) -> str:
    return "audience_key" if subject.kind == "audience" else "trait_key"


def _personas(subject: Subject, sender: Sender) -> dict[str, Any]:
    return {
        "computation_class": "audience" if subject.kind == "audience" else "trait",
        "computation_id": subject.public_id,
        "computation_key": subject.key,
        "namespace": sender.space_slug,
        "space_id": sender.space_id,
    }


# Messages of one run have one instant.
@lru_cache(maxsize=256)
def _instant(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
