"""How a row of a table becomes a call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class RowMapping:
    """Which columns mean what. `properties` and `traits` are (column, name); None: all columns that mean nothing else.

    `as_` is what each row is; a track needs `event`, its name for all rows. Of properties and traits, only those count
    that the type has (traits for identify, properties for the others).
    """

    as_: Literal["track", "identify", "page"]
    event: str | None = None
    user_id: str | None = None
    anonymous_id: str | None = None
    email: str | None = None
    timestamp: str | None = None
    message_id: str | None = None
    properties: tuple[tuple[str, str], ...] | None = None
    traits: tuple[tuple[str, str], ...] | None = None

    @property
    def identifying(self) -> tuple[str, ...]:
        """The columns that are read as text, whatever they look like: 007 is not 7."""
        found = (self.user_id, self.anonymous_id, self.email, self.message_id)
        return tuple(column for column in found if column is not None)

    @property
    def known(self) -> tuple[str | None, ...]:
        """The columns of user id, anonymous id, email, message id and timestamp."""
        return (self.user_id, self.anonymous_id, self.email, self.message_id, self.timestamp)

    @property
    def chosen(self) -> tuple[tuple[str, str], ...] | None:
        return self.traits if self.as_ == "identify" else self.properties
