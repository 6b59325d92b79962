"""How the depths of the mapping say that a call can't be sent. Never leaves `Mapper.requests`."""

from __future__ import annotations


class Unsendable(Exception):
    def __init__(self, reason: str, field: str | None = None) -> None:
        self.reason = reason
        self.field = field
        super().__init__(reason)
