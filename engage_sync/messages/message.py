"""A message as it waits in the outbox, together with what it refers to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """The definition that a message speaks of. `track` are the event names of its version, by what happened.

    `is_row`: an SQL trait's, whose value is an object with a trait a column.
    """

    public_id: str
    kind: str
    key: str
    track: dict[str, Any] | None
    is_row: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """One identity to be told one value, or a call to be passed on. `subject` is None where the definition is gone.

    `user_id` is the profile's, and goes along; the identity that is told is `identity_type` and `identity_value`.
    A `call` is said as it stands, and no definition's: one of the source with this slug, or, without a source, that an
    email changed, or that somebody has to be forgotten. `as_of` is when it happened. `is_suppressed`: nothing may be
    said to them.
    """

    id: int
    destination_id: int
    profile_id: int
    definition_id: int | None
    identity_type: str
    identity_value: str
    call_type: str
    value: Any
    told_version: int | None
    as_of: datetime
    user_id: str | None
    subject: Subject | None
    source: str | None = None
    call: dict[str, Any] | None = None
    is_suppressed: bool = False
