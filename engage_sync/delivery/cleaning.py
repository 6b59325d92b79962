"""What a destination answers may repeat the key that it was sent: it is taken out before anything is kept or shown."""

from __future__ import annotations

from collections.abc import Sequence

# Shorter ones would blank out ordinary text.
_SHORTEST_SECRET = 8
_REMOVED = "[removed]"


class Cleaning:
    """Of one destination, whose `secrets` these are."""

    def __init__(self, secrets: Sequence[str]) -> None:
        self._secrets = [secret for secret in secrets if len(secret) >= _SHORTEST_SECRET]

    def text(self, told: str) -> str:
        """The text without secrets, and without what Postgres can't hold."""
        for secret in self._secrets:
            told = told.replace(secret, _REMOVED)
        return told.replace("\x00", "")

    def content(self, told: bytes) -> bytes:
        """A body without secrets."""
        for secret in self._secrets:
            told = told.replace(secret.encode(), _REMOVED.encode())
        return told
