"""Deterministic ids: the same message has the same id each time it is sent, on every host."""

from __future__ import annotations

import base64
import hashlib
from json.encoder import encode_basestring_ascii
from uuid import UUID

_LENGTH = 27


def message_id(
    *,
    installation: UUID,
    destination: str,
    definition: str,
    identity_type: str,
    identity_value: str,
    call_type: str,
    told_version: int,
) -> str:
    """`personas_` and 27 letters and digits. `destination` is its slug, `definition` its public id."""
    parts = (str(installation), destination, definition, identity_type, identity_value, call_type)
    return "personas_" + _letters(*parts, number=told_version)


def forwarded_id(*, installation: UUID, destination: str, source: str, message_id: str) -> str:
    """`forwarded_` and 27 letters and digits, for a source's call. `destination` and `source` are slugs.

    Not the source's own id: that is unique within its source only.
    """
    return "forwarded_" + _letters(str(installation), destination, source, message_id)


def space_id(installation: UUID, slug: str) -> str:
    """`spa_` and 27 letters and digits: the id that a space leaves under."""
    return "spa_" + _letters(str(installation), "space", slug)


def _letters(*parts: str, number: int | None = None) -> str:
    """The parts' hash. They are hashed as a JSON list, so that no two lists of parts read the same."""
    last = "" if number is None else f", {number}"
    content = f"[{', '.join(map(encode_basestring_ascii, parts))}{last}]"
    # Twenty bytes are 32 letters.
    return base64.b32encode(hashlib.sha256(content.encode()).digest()[:20]).decode()[:_LENGTH].lower()
