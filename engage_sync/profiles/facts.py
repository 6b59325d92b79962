"""What a call says, ready for the resolver: read once, before any lock is held. Pure."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, NamedTuple

import orjson

from engage_sync import errors
from engage_sync.database import binary
from engage_sync.ingest import accept
from engage_sync.ingest.calls import IncomingCall
from engage_sync.profiles import identifiers, instants
from engage_sync.profiles.identifiers import Identifier

PAGE_VIEWED = "Page Viewed"
SCREEN_VIEWED = "Screen Viewed"
GROUP = "Group"

_LENGTH = struct.Struct(">i")
_TIMES_SOURCE = struct.Struct(">iqiqih")


class Facts(NamedTuple):
    """One call. A NamedTuple, as half a million of these are made in a minute.

    `group_id` and `group_traits` are what a group call says of an account.
    `event` is the name of the event to store, None where the call stores none; `event_row` is all of its row in the
    binary format of COPY but the profile (see store.EVENTS); `traits` are canonical JSON.
    """

    position: int
    source_id: int
    digest: bytes
    identifiers: tuple[Identifier, ...]
    previous_id: str | None
    timestamp: int
    is_adjusted: bool
    event: str | None
    event_row: bytes
    traits: dict[str, bytes] | None
    group_id: str | None = None
    group_traits: dict[str, bytes] | None = None


def read(call: IncomingCall, position: int, limits: Mapping[str, int]) -> Facts:
    """The facts of a normalised call. Raises errors.CallInvalid where it names nobody, or no readable time (files)."""
    body = call.body
    found = identifiers.of_call(body, limits)
    if not found:
        raise errors.CallInvalid("userId: no usable identifier (missing, or a value that stands for nobody)")
    received = binary.microseconds(call.received_at)
    happened = instants.happened_live if call.row is None else instants.happened_archived
    timestamp, is_adjusted = happened(body, received)
    event, properties = _event(body)
    message_id = body["messageId"]
    return Facts(
        position,
        call.source_id,
        blake2b(message_id.encode(), digest_size=16).digest(),
        found,
        _previous_id(body),
        timestamp,
        is_adjusted,
        event,
        b"" if event is None else _row(event, timestamp, received, call.source_id, body, properties),
        _traits(body, "identify"),
        body["groupId"] if body["type"] == "group" else None,
        _traits(body, "group"),
    )


def canonical(value: Any) -> bytes:
    """JSON by which two values of a trait are compared: keys in order."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # integers beyond 64 bits; or too deep, which `clean` refuses
        return json.dumps(accept.clean(value), ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()


def _event(body: Mapping[str, Any]) -> tuple[str | None, dict[str, Any]]:
    match body["type"]:
        case "track":
            return body["event"], body.get("properties") or {}
        case "page":
            return PAGE_VIEWED, _viewed(body)
        case "screen":
            return SCREEN_VIEWED, _viewed(body)
        case "group":
            # A group's traits describe the account, so they are no traits of the person; the call is an event as well.
            return GROUP, {**(body.get("traits") or {}), "groupId": body["groupId"]}
        case _:
            return None, {}


def _viewed(body: Mapping[str, Any]) -> dict[str, Any]:
    properties = dict(body.get("properties") or {})
    for name in ("name", "category"):
        if body.get(name) is not None:
            properties.setdefault(name, body[name])
    return properties


def _traits(body: Mapping[str, Any], type_: str) -> dict[str, bytes] | None:
    if body["type"] != type_ or not body.get("traits"):
        return None
    return {name: canonical(value) for name, value in body["traits"].items()}


def _previous_id(body: Mapping[str, Any]) -> str | None:
    if body["type"] != "alias":
        return None
    previous: str = body["previousId"]
    return None if identifiers.is_blocked(previous) else previous


def _row(
    event: str, timestamp: int, received: int, source_id: int, body: Mapping[str, Any], properties: dict[str, Any]
) -> bytes:
    name, type_, message_id = event.encode(), body["type"].encode(), body["messageId"].encode()
    stored, context = accept.encode(properties), body.get("context")
    parts = [
        _LENGTH.pack(len(name)),
        name,
        _TIMES_SOURCE.pack(8, timestamp, 8, received, 2, source_id),
        _LENGTH.pack(len(type_)),
        type_,
        _LENGTH.pack(len(message_id)),
        message_id,
        _LENGTH.pack(len(stored) + 1),
        b"\x01",
        stored,
    ]
    if context:
        encoded = accept.encode(context)
        parts += (_LENGTH.pack(len(encoded) + 1), b"\x01", encoded)
    else:
        parts.append(binary.NULL)
    return b"".join(parts)
