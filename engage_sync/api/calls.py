"""From a body to calls: the type of a path, and what a batch says for all of its calls. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from engage_sync import errors
from engage_sync.ingest import accept

BATCH = "batch"

# The type of call by the last part of the path; the short forms are the browser's.
TYPES = {
    "identify": "identify",
    "i": "identify",
    "track": "track",
    "t": "track",
    "page": "page",
    "p": "page",
    "screen": "screen",
    "s": "screen",
    "group": "group",
    "g": "group",
    "alias": "alias",
    "a": "alias",
    "batch": BATCH,
    "b": BATCH,
    "import": BATCH,
}

# What a batch says for all of its calls is stored with each: a small body must not become gigabytes.
_MAX_STORED_BYTES = 16_000_000

# A batch says these for each of its calls that doesn't say otherwise.
_SHARED_VALUES = ("sentAt", "timestamp")
_SHARED_OBJECTS = ("context", "integrations")


@dataclass(frozen=True, kw_only=True, slots=True)
class Calls:
    """Normalised calls as JSON, in order, and how many there are of each type."""

    bodies: list[bytes]
    types: Counter[str]


def write_key_of(parsed: Any) -> str | None:
    """The `writeKey` in a body."""
    key = parsed.get("writeKey") if isinstance(parsed, dict) else None
    return key if isinstance(key, str) and key else None


def decode(parsed: Any, type_: str) -> Calls:
    """The calls in a parsed body (see accept.parse) that came to the path of `type_`.

    Raises errors.CallInvalid for the first that can't be taken, naming its index in a batch: one bad call refuses the
    whole batch, as clients neither split it nor send it again.
    """
    if type_ == BATCH:
        return _decode_batch(parsed)
    if not isinstance(parsed, dict):
        raise errors.CallInvalid("body: expected a JSON object")
    parsed["type"] = type_
    # Its body was within the limit of one call already.
    return Calls(bodies=[_encode(parsed)], types=Counter((type_,)))


def _decode_batch(parsed: Any) -> Calls:
    batch = parsed.get("batch") if isinstance(parsed, dict) else None
    if not isinstance(batch, list):
        raise errors.CallInvalid("batch: expected an array of calls")
    if len(batch) > accept.MAX_BATCH_CALLS:
        raise errors.CallTooLarge(f"batch: expected at most {accept.MAX_BATCH_CALLS} calls, got {len(batch)}")
    bodies, types, stored = [], Counter[str](), 0
    for index, (call, merged) in enumerate(_merge(parsed, batch)):
        try:
            body = _encode(merged)
            # What the batch says for all of them doesn't count against one call's limit.
            if len(body) > accept.MAX_CALL_BYTES and _size(call) > accept.MAX_CALL_BYTES:
                raise errors.CallTooLarge(f"larger than {accept.MAX_CALL_BYTES} bytes")
        except errors.CallTooLarge as failure:
            raise errors.CallTooLarge(f"batch[{index}]: {failure}") from None
        except errors.CallInvalid as failure:
            raise errors.CallInvalid(f"batch[{index}]: {failure}", code=failure.code) from None
        stored += len(body)
        if stored > _MAX_STORED_BYTES:
            raise errors.CallTooLarge("batch: too large once its context is added to each of its calls")
        bodies.append(body)
        types[merged["type"]] += 1
    return Calls(bodies=bodies, types=types)


def _merge(parsed: dict[str, Any], batch: list[Any]) -> Iterator[tuple[Any, Any]]:
    """Each call as sent, and with what the batch says for all of them. The call's own word wins, key by key."""
    values = {name: parsed[name] for name in _SHARED_VALUES if parsed.get(name) is not None}
    objects = {name: parsed[name] for name in _SHARED_OBJECTS if parsed.get(name) not in (None, {}, "")}
    for name, value in objects.items():
        if not isinstance(value, dict):
            raise errors.CallInvalid(f"{name}: expected an object")
    for call in batch:
        if not isinstance(call, dict):
            yield call, call
            continue
        merged = {**values, **call} if values else call
        for name, value in objects.items():
            own = call.get(name)
            if own is None or own == "":
                merged = {**merged, name: value}
            elif isinstance(own, dict):
                merged = {**merged, name: {**value, **own}}
        yield call, merged


def _encode(call: Any) -> bytes:
    return accept.encode(accept.normalise(call))


def _size(call: Any) -> int:
    return len(accept.encode(call))
