"""Deterministic ids: the same message has the same id each time it is sent, on every host."""

from __future__ import annotations

import base64
import hashlib
import json
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
    # As JSON, so that no two lists of parts read the same.
    parts = [str(installation), destination, definition, identity_type, identity_value, call_type, told_version]
    return "personas_" + _letters(json.dumps(parts).encode())


def forwarded_id(*, installation: UUID, destination: str, source: str, message_id: str) -> str:
    """`forwarded_` and 27 letters and digits, for a source's call. `destination` and `source` are slugs.

    Not the source's own id: that is unique within its source only.
    """
    return "forwarded_" + _letters(json.dumps([str(installation), destination, source, message_id]).encode())


def space_id(installation: UUID, slug: str) -> str:
    """`spa_` and 27 letters and digits: the id that a space leaves under."""
    return "spa_" + _letters(json.dumps([str(installation), "space", slug]).encode())


def _letters(content: bytes) -> str:
    return base64.b32encode(hashlib.sha256(content).digest()).decode()[:_LENGTH].lower()
