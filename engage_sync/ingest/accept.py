"""Accepting calls: from bytes that anybody may send to a call that Postgres can hold and the resolver can read.

Reads nothing, writes nothing. Guarantees that whatever JSON comes in, the answer is a call or errors.CallInvalid.
What Postgres can't hold is mended rather than refused: a NUL is dropped, half a surrogate pair replaced, and a number
that no column could hold becomes a string.
"""

from __future__ import annotations

import json
import re
import uuid
from hashlib import blake2b
from typing import Any

import orjson

from engage_sync import errors

MAX_CALL_BYTES = 32 * 1024
MAX_BATCH_BYTES = 500_000
MAX_BATCH_CALLS = 2_500

MAX_DEPTH = 100
MAX_DIGITS = 40
MAX_MESSAGE_ID = 100
# Names and identifiers are keys of indexes; Postgres refuses entries above a third of a page (some 2,700 bytes).
MAX_NAME = 500

TYPES = frozenset({"identify", "track", "page", "screen", "group", "alias"})

_OBJECTS = ("properties", "traits", "context", "integrations")
_IDENTIFIERS = ("userId", "anonymousId", "groupId", "previousId")
_TIMES = ("timestamp", "originalTimestamp", "sentAt", "receivedAt")
_KEPT = frozenset(
    {"type", "messageId", "event", "name", "category", "channel", "version", *_IDENTIFIERS, *_TIMES, *_OBJECTS}
)

# What orjson reads without a word, but not as we want it: NUL, and integers beyond 64 bits, which it rounds. All else
# that Postgres can't hold, it refuses: half surrogate pairs, bytes that aren't UTF-8, and numbers beyond 1.8e308.
_NUL = b"\\u0000"
_DIGITS_ALIKE = bytes.maketrans(b"123456789", b"000000000")
_MANY_DIGITS = b"0" * 20
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_LARGEST = 1e308


def parse(body: bytes) -> Any:
    """JSON as Python values that Postgres can hold.

    Raises errors.CallInvalid where the body isn't JSON, or is nested more than MAX_DEPTH deep on the slow road.
    """
    if _NUL not in body and _MANY_DIGITS not in body.translate(_DIGITS_ALIKE):
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError:
            pass  # not JSON, or JSON with what orjson refuses: the slow road tells them apart
    return _parse_slowly(body)


def normalise(call: Any) -> dict[str, Any]:
    """The call that is stored, from a parsed one (see `parse`): known fields only, checked, with a message id.

    Raises errors.CallInvalid, with the field and what was expected of it. Timestamps stay as they were given: what they
    mean is decided where the time of arrival is known.
    """
    if not isinstance(call, dict):
        raise _invalid("call", "expected a JSON object", call)
    type_ = call.get("type")
    if not isinstance(type_, str) or type_ not in TYPES:
        raise _invalid("type", "expected one of identify, track, page, screen, group, alias", type_)
    stored = {name: value for name, value in call.items() if value is not None and name in _KEPT}
    for name in _OBJECTS:
        value = stored.get(name)
        if value is None:
            continue
        if value == "":
            del stored[name]
            continue
        if not isinstance(value, dict):
            raise _invalid(name, "expected an object", value)
    stored["messageId"] = _message_id(stored.get("messageId"))
    for name in _IDENTIFIERS:
        if name in stored:
            _keep_identifier(stored, name)
    _check_type(stored, type_)
    if "userId" not in stored and "anonymousId" not in stored and not _has_other_identifier(stored):
        raise errors.CallInvalid(
            "userId: expected a userId, an anonymousId, an email in traits or context.traits, or context.externalIds"
        )
    return stored


def encode(call: dict[str, Any]) -> bytes:
    """A normalised call, or a part of one, as compact JSON.

    Raises errors.CallInvalid where it is nested too deep: above MAX_DEPTH levels at orjson's own limit of 254, which
    costs nothing to hold, where a look at each level would double what it costs to accept a call.
    """
    try:
        return orjson.dumps(call)
    except (TypeError, ValueError):
        # Too deep, or integers beyond 64 bits, which Postgres holds and orjson doesn't write.
        return json.dumps(clean(call), ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def clean(value: Any, depth: int = MAX_DEPTH) -> Any:
    """The same JSON without what Postgres can't hold. Raises errors.CallInvalid below `depth` levels."""
    if isinstance(value, str):
        return _clean_text(value)
    if isinstance(value, dict):
        _require_depth(depth)
        return {_clean_text(str(key)): clean(inner, depth - 1) for key, inner in value.items()}
    if isinstance(value, list):
        _require_depth(depth)
        return [clean(inner, depth - 1) for inner in value]
    if isinstance(value, float):
        return value if abs(value) <= _LARGEST else str(value)  # NaN compares false, too
    if isinstance(value, int) and not isinstance(value, bool):
        return value if abs(value) < 10**MAX_DIGITS else _integer_text(value)
    return value


def _parse_slowly(body: bytes) -> Any:
    try:
        text = body.decode("utf-8", "replace")
        parsed = json.loads(
            text.removeprefix("\ufeff"), parse_int=_integer, parse_float=_float, parse_constant=str, strict=False
        )
    except RecursionError:
        raise errors.CallInvalid(f"body: nested more than {MAX_DEPTH} levels deep") from None
    except ValueError as failure:
        raise errors.CallInvalid(f"body: expected JSON: {failure}") from None
    return clean(parsed, MAX_DEPTH + 2)  # a batch wraps its calls in an object and an array


def _integer(digits: str) -> int | str:
    return int(digits) if len(digits.lstrip("-")) <= MAX_DIGITS else digits


def _float(digits: str) -> float | str:
    value = float(digits)
    too_long = sum(character.isdigit() for character in re.split("[eE]", digits)[0]) > MAX_DIGITS
    return digits if too_long or abs(value) > _LARGEST else value


def _integer_text(value: int) -> str:
    # int → str is quadratic and refused by Python above 4,300 digits; nothing that long comes out of `parse`.
    try:
        return str(value)
    except ValueError:
        return hex(value)


def _clean_text(text: str) -> str:
    if "\x00" in text:
        text = text.replace("\x00", "")
    return text if text.isascii() else _LONE_SURROGATE.sub("\ufffd", text)


def _require_depth(depth: int) -> None:
    if depth <= 0:
        raise errors.CallInvalid(f"call: nested more than {MAX_DEPTH} levels deep")


def _message_id(value: Any) -> str:
    if value is None or value == "":
        return str(uuid.uuid4())
    text = _text_of(value)
    if text is None:
        raise _invalid("messageId", "expected a string", value)
    if len(text) > MAX_MESSAGE_ID:
        # Hashed, not refused and not cut: the same long id must stay the same, and another one another.
        return "long_" + blake2b(text.encode(), digest_size=32).hexdigest()
    return text


def _keep_identifier(stored: dict[str, Any], name: str) -> None:
    value = stored[name]
    text = _text_of(value)
    if text is None:
        raise _invalid(name, "expected a string", value)
    if len(text) > MAX_NAME:
        raise errors.CallInvalid(f"{name}: expected at most {MAX_NAME} characters, got {len(text)}")
    if not text or text.isspace():
        del stored[name]
    else:
        stored[name] = text


def _check_type(stored: dict[str, Any], type_: str) -> None:
    if type_ == "track":
        event = stored.get("event")
        if not isinstance(event, str) or not event:
            raise _invalid("event", "expected the event's name, a string that isn't empty", event)
        if len(event) > MAX_NAME:
            raise errors.CallInvalid(f"event: expected at most {MAX_NAME} characters, got {len(event)}")
    elif type_ == "alias":
        for name in ("previousId", "userId"):
            if name not in stored:
                raise _invalid(name, "expected by alias, a string that isn't empty", None)
    elif type_ == "group" and "groupId" not in stored:
        raise _invalid("groupId", "expected by group, a string that isn't empty", None)
    elif type_ == "identify":
        for name in stored.get("traits", ()):
            if len(name) > MAX_NAME:
                raise errors.CallInvalid(f"traits: expected names of at most {MAX_NAME} characters, got {len(name)}")


def _has_other_identifier(stored: dict[str, Any]) -> bool:
    if stored["type"] != "group" and stored.get("traits", {}).get("email"):
        return True
    context = stored.get("context", {})
    traits = context.get("traits")
    return bool((isinstance(traits, dict) and traits.get("email")) or context.get("externalIds"))


def _text_of(value: Any) -> str | None:
    """A string or number as text; None for anything else. 12.0 is "12", as clients in JavaScript would write it."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return _integer_text(value)
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    return None


def _invalid(field: str, expected: str, found: Any) -> errors.CallInvalid:
    return errors.CallInvalid(f"{field}: {expected}, got {_KINDS.get(type(found), 'something else')}")


_KINDS = {
    type(None): "nothing",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "another string",
    list: "an array",
    dict: "an object",
}
