"""Who is calling: the write key of a source, the secret of a webhook, or the token of the operator."""

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


@dataclass(frozen=True, kw_only=True, slots=True)
class WebhookSource:
    """A source that another system's webhooks come from, and the secret that they carry."""

    source: SourceRef
    secret: SecretStr


def write_key(authorization: str) -> str | None:
    """The write key in an Authorization header: the user name of Basic, or a Bearer token. None where it has none."""
    scheme, _, value = authorization.strip().partition(" ")
    match scheme.lower():
        case "bearer":
            return value.strip() or None
        case "basic":
            return _basic(value)[0] or None
        case _:
            return None


def has_secret(authorization: bytes | None, secret: SecretStr) -> bool:
    """Whether the header carries a webhook's secret: alone, behind any scheme, or as a part of Basic credentials.

    Compared in constant time. Iterable sends its "Auth Token" as it was typed, behind the "Auth Type" or alone.
    """
    if authorization is None or not secret.get_secret_value():
        return False
    given = authorization.strip()
    value = given.partition(b" ")[2].strip()
    candidates = [given, value, *(part.encode() for part in _basic(value.decode("latin-1")))]
    expected = secret.get_secret_value().encode()
    return any(hmac.compare_digest(candidate, expected) for candidate in candidates)


def is_operator(authorization: str, token: SecretStr | None) -> bool:
    """Whether the header is `Bearer <token>`. Nobody is the operator of an installation without a token."""
    if token is None or not token.get_secret_value():
        return False
    scheme, _, value = authorization.strip().partition(" ")
    # Compared in constant time, and as bytes: a header may hold any character.
    return scheme.lower() == "bearer" and hmac.compare_digest(value.strip().encode(), token.get_secret_value().encode())


def _basic(value: str) -> tuple[str, str]:
    """User name and password; both empty where there are none."""
    try:
        name, _, password = base64.b64decode(value.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return "", ""
    return name, password
