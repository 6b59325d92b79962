"""Deterministic ids: the same message has the same id each time it is sent, on every host."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from itertools import product
from json.encoder import encode_basestring_ascii
from uuid import UUID

# Base 32 as RFC 4648 has it, in lower case: of a hash's first 135 bits, ten by ten, and the last five.
_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"
_TWO_LETTERS = ["".join(two) for two in product(_LETTERS, repeat=2)]
_BYTES, _SPARE_BITS = 17, 1
_SHIFTS = tuple(range(125, 0, -10))


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
    parts = f"{_parts(identity_type, identity_value, call_type)}, {told_version}"
    return "personas_" + _letters(_beginning(installation, destination, definition), parts)


def forwarded_id(*, installation: UUID, destination: str, source: str, message_id: str) -> str:
    """`forwarded_` and 27 letters and digits, for a source's call. `destination` and `source` are slugs.

    Not the source's own id: that is unique within its source only.
    """
    return "forwarded_" + _letters(_beginning(installation, destination, source), _parts(message_id))


def space_id(installation: UUID, slug: str) -> str:
    """`spa_` and 27 letters and digits: the id that a space leaves under."""
    return "spa_" + _letters(_parts(str(installation), "space", slug))


def _letters(*parts: str) -> str:
    """The parts' hash. They are hashed as a JSON list, so that no two lists of parts read the same."""
    hashed = hashlib.sha256(f"[{', '.join(parts)}]".encode()).digest()
    bits = int.from_bytes(hashed[:_BYTES]) >> _SPARE_BITS
    return "".join([_TWO_LETTERS[bits >> shift & 1023] for shift in _SHIFTS]) + _LETTERS[bits & 31]


# Thousands of messages in a row have one.
@lru_cache(maxsize=1024)
def _beginning(installation: UUID, destination: str, of: str) -> str:
    return _parts(str(installation), destination, of)


def _parts(*parts: str) -> str:
    return ", ".join(map(encode_basestring_ascii, parts))
