"""What of a source's call may be passed on to a destination, and calls of our own. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engage_sync.profiles import identifiers
from engage_sync.profiles.identifiers import EMAIL, USER_ID, Identifier

EMAIL_CHANGE = "email_change"
FORGET = "forget"


def forwardable(call: Mapping[str, Any]) -> dict[str, Any] | None:
    """The normalised call without identifiers that stand for nobody ("null", "undefined"); a copy where it changes.

    None for an anonymous call: it names nobody by a user id or an email, and no destination knows its anonymous id.
    """
    found = dict(call)
    if identifiers.is_blocked(call.get("userId") or ""):
        found.pop("userId", None)
    for name in ("traits", "properties"):
        if name in call:
            found[name] = _without_nobody(call[name])
    context = call.get("context")
    if context is not None and isinstance(context.get("traits"), dict):
        found["context"] = {**context, "traits": _without_nobody(context["traits"])}
    return found if "userId" in found or any(_emails(found)) else None


def email_change(*, before: str, after: str, user_id: str) -> dict[str, Any]:
    """The call by which a destination learns that the user with one email has another."""
    return {"type": EMAIL_CHANGE, "previousEmail": before, "email": after, "userId": user_id}


def forget(identifier: Identifier, message_id: str) -> dict[str, Any]:
    """The call by which a destination learns that it has to forget whoever has this email or user id."""
    type_, value = identifier
    who = {"userId": value} if type_ == USER_ID else {"traits": {"email": value}}
    return {"type": FORGET, "messageId": message_id, **who}


def addressed(call: Mapping[str, Any]) -> set[Identifier]:
    """Whomever a destination may take a call to be about."""
    found = [email for email in _emails(call) if isinstance(email, str)]
    users = [each for name in ("userId", "previousId") if isinstance(each := call.get(name), str)]
    emails = {(EMAIL, each.strip().lower()) for each in (*found, *users) if "@" in each}
    return emails | {(USER_ID, each) for each in users}


def known_as(call: Mapping[str, Any]) -> str | None:
    """What people know the call by: the name of the event, page or screen; None for those that have none."""
    name = call.get("event") if call["type"] == "track" else call.get("name")
    return name if isinstance(name, str) else None


def _without_nobody(fields: dict[str, Any]) -> dict[str, Any]:
    email = fields.get("email")
    if isinstance(email, str) and identifiers.is_blocked(email):
        return {name: value for name, value in fields.items() if name != "email"}
    return fields


def _emails(call: Mapping[str, Any]) -> tuple[Any, ...]:
    """Whatever stands where a call has its email, blank where there is none."""
    context = call.get("context") or {}
    external = context.get("externalIds")
    return (
        call.get("traits", {}).get("email") if call["type"] == "identify" else None,
        (context.get("traits") or {}).get("email") if isinstance(context.get("traits"), dict) else None,
        call.get("properties", {}).get("email"),
        isinstance(external, list) and any(isinstance(each, dict) and each.get("type") == "email" for each in external),
    )
