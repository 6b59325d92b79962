"""Which identifiers a call carries, in the order in which they give way to each other. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeAlias

import orjson

from engage_sync.ingest import accept

# (type, value), as in the table `identities`.
Identifier: TypeAlias = tuple[str, str]

USER_ID = "user_id"
EMAIL = "email"
ANONYMOUS_ID = "anonymous_id"
DEVICE_ID = "device_id"

# The types that make a profile known, see profiles.is_known.
KNOWING = frozenset({USER_ID, EMAIL})

DEFAULT_LIMITS: Mapping[str, int] = {USER_ID: 1}
OTHER_LIMIT = 5

# What software writes where it has nothing to write. One profile for all of these people would be the worst of merges.
BLOCKED = frozenset(
    {
        "",
        "null",
        "(null)",
        "<null>",
        "nil",
        "none",
        "nan",
        "undefined",
        "unknown",
        "anonymous",
        "not set",
        "(not set)",
        "n/a",
        "na",
        "-1",
        "true",
        "false",
        "[object object]",
        "{}",
        "[]",
        "unknown@unknown.com",
        "noreply@example.com",
        "null@null.com",
        "none@none.com",
    }
)

_EMAIL = re.compile(r"[^@\s]{1,128}@[^@\s]+\.[^@\s.]+")
_MAX_EMAIL = 320
_MAX_TYPE = 100


def limit(limits: Mapping[str, int], type_: str) -> int:
    """How many identifiers of a type a profile may have."""
    found = limits.get(type_)
    if found is not None:
        return found
    return DEFAULT_LIMITS.get(type_, OTHER_LIMIT)


def of_call(body: Mapping[str, Any], limits: Mapping[str, int]) -> tuple[Identifier, ...]:
    """The usable identifiers of a normalised call, without repetition, the one that gives way last first.

    The previousId of an alias is not among them: its type depends on what is known of it.
    """
    found: list[Identifier] = []
    _add(found, USER_ID, body.get("userId"))
    if body["type"] == "identify" and "traits" in body:
        _add_email(found, body["traits"].get("email"))
    context = body.get("context")
    if context is not None:
        _add_context(found, context)
    _add(found, ANONYMOUS_ID, body.get("anonymousId"))
    if len(found) > 2 or (limits and any(value <= 0 for value in limits.values())):
        found = [identifier for identifier in found if limit(limits, identifier[0]) > 0]
        found.sort(key=_priority)
    return tuple(found)


def email_of(trait: bytes | None) -> Identifier | None:
    """The identifier that the trait `email` is, as JSON text; None where it is none."""
    found: list[Identifier] = []
    if trait is not None:
        _add_email(found, orjson.loads(trait))
    return found[0] if found else None


def is_blocked(value: str) -> bool:
    """Whether a value stands for nobody: a known word for nothing, or zeros and dashes alone."""
    return value.strip().lower() in BLOCKED or not value.strip("0- ")


def _priority(identifier: Identifier) -> tuple[int, str]:
    type_ = identifier[0]
    return (0 if type_ == USER_ID else 1 if type_ == EMAIL else 2, type_)


def _add_context(found: list[Identifier], context: Mapping[str, Any]) -> None:
    traits = context.get("traits")
    if isinstance(traits, dict):
        _add_email(found, traits.get("email"))
    external = context.get("externalIds")
    if isinstance(external, list):
        for entry in external:
            if isinstance(entry, dict) and entry.get("collection", "users") == "users":
                type_, value = entry.get("type"), entry.get("id")
                if isinstance(type_, str) and 0 < len(type_) <= _MAX_TYPE:
                    _add_email(found, value) if type_ == EMAIL else _add(found, type_, value)
    device = context.get("device")
    if isinstance(device, dict):
        _add(found, DEVICE_ID, device.get("id"))


def _add(found: list[Identifier], type_: str, value: Any) -> None:
    if value is None:
        return
    if value.__class__ is int:
        value = str(value)
    if not isinstance(value, str) or len(value) > accept.MAX_NAME or is_blocked(value):
        return
    if (type_, value) not in found:
        found.append((type_, value))


def _add_email(found: list[Identifier], value: Any) -> None:
    if isinstance(value, str) and len(value) <= _MAX_EMAIL:
        value = value.strip().lower()
        if _EMAIL.fullmatch(value):
            _add(found, EMAIL, value)
