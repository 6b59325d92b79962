"""Whose call it is: the email and the userId that Iterable finds the user by."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from engage_sync.destinations.iterable.refusal import Unsendable

MAX_USER_ID: Final = 52

# The form only: one @, no spaces or controls or delimiters, a host with a dot and no empty label.
_EMAIL: Final = re.compile(
    r"""[^\s@()<>,;:"\[\]\\\x00-\x1f\x7f-\x9f]{1,64}@
        (?=[^@]{3,255}\Z)(?:[^\W_](?:(?:[^\W_]|-){0,61}[^\W_])?\.)+[^\W_](?:(?:[^\W_]|-){0,61}[^\W_])?""",
    re.VERBOSE,
)
_NOTHING: Final[Mapping[str, Any]] = {}


def email_of(value: Any) -> str | None:
    """The email without spaces around it, or None where the value isn't one."""
    if type(value) is not str or "@" not in value:
        return None
    text = value.strip()
    return text if len(text) <= 254 and text.isprintable() and _EMAIL.fullmatch(text) else None


def user_id_of(value: Any) -> str | None:
    """The userId as Iterable takes it (1 to 52 printable ASCII characters, no space at the end), or None."""
    if type(value) is int:
        value = str(value) if abs(value) < 10**50 else None
    if type(value) is not str or not 0 < len(value) <= MAX_USER_ID:
        return None
    return value if value.isascii() and value.isprintable() and value[-1] != " " else None


def context_traits(call: Mapping[str, Any]) -> Mapping[str, Any]:
    context = call.get("context")
    traits = context.get("traits") if type(context) is dict else None
    return traits if type(traits) is dict else _NOTHING


def identity(call: Mapping[str, Any], *candidates: tuple[str, Any]) -> dict[str, Any]:
    """`email` and `userId`, whichever are known; a userId that is an email counts as one where no other is given.

    `candidates` are the places where this type of call keeps its email, first to last: field and value. A trait that
    is given but no email, or a userId that Iterable doesn't take, raises Unsendable: sent without it, the call would
    go to somebody else.
    """
    raw_id = call.get("userId")
    if _is_blank(raw_id):
        raw_id = None
    email = _first_email(candidates) or email_of(raw_id)
    found: dict[str, Any] = {} if email is None else {"email": email}
    if raw_id is not None:
        user_id = user_id_of(raw_id)
        if user_id is not None:
            found["userId"] = user_id
        elif email is None or email_of(raw_id) != email:
            raise Unsendable(
                f"Iterable takes userIds of 1 to {MAX_USER_ID} printable ASCII characters, without a space at the end",
                "userId",
            )
    if not found:
        for field, value in candidates:
            if not _is_blank(value):
                raise Unsendable(f"{field} is not an email address, and there is no userId", field)
        raise Unsendable("neither an email nor a userId", "userId")
    return found


def _first_email(candidates: tuple[tuple[str, Any], ...]) -> str | None:
    for field, value in candidates:
        if _is_blank(value):
            continue
        email = email_of(value)
        if email is not None:
            return email
        if field != "properties.email":  # a property may be about something else: a form, a channel, a preference
            raise Unsendable(f"{field} is not an email address", field)
    return None


def _is_blank(value: Any) -> bool:
    return value is None or (type(value) is str and not value.strip())
