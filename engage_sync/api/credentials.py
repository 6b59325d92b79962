"""Who is calling: the write key of a source, or the token of the operator."""

from __future__ import annotations

import base64
import binascii
import hmac
from dataclasses import dataclass

from pydantic import SecretStr


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceRef:
    """A source that calls come from, as it is known to people (slug) and to the database (id)."""

    slug: str
    id: int


def write_key(authorization: str) -> str | None:
    """The write key in an Authorization header: the user name of Basic, or a Bearer token. None where it has none."""
    scheme, _, value = authorization.strip().partition(" ")
    match scheme.lower():
        case "bearer":
            return value.strip() or None
        case "basic":
            try:
                pair = base64.b64decode(value.strip(), validate=True).decode()
            except (binascii.Error, ValueError):
                return None
            return pair.partition(":")[0] or None
        case _:
            return None


def is_operator(authorization: str, token: SecretStr | None) -> bool:
    """Whether the header is `Bearer <token>`. Nobody is the operator of an installation without a token."""
    if token is None or not token.get_secret_value():
        return False
    scheme, _, value = authorization.strip().partition(" ")
    # Compared in constant time, and as bytes: a header may hold any character.
    return scheme.lower() == "bearer" and hmac.compare_digest(value.strip().encode(), token.get_secret_value().encode())
