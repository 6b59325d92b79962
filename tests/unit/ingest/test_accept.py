from __future__ import annotations

import json
import uuid
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engage_sync import errors
from engage_sync.ingest import accept


def track(**overrides: Any) -> dict[str, Any]:
    return {"type": "track", "event": "Order Completed", "userId": "u1", "messageId": "m1", **overrides}


def test_call_keeps_known_fields_only() -> None:
    call = track(properties={"total": 1}, writeKey="secret", integrations={"All": True}, sentAt="2026-01-01T00:00:00Z")
    assert accept.normalise(call) == {
        "type": "track",
        "event": "Order Completed",
        "userId": "u1",
        "messageId": "m1",
        "properties": {"total": 1},
        "integrations": {"All": True},
        "sentAt": "2026-01-01T00:00:00Z",
    }


@pytest.mark.parametrize(
    ("given_id", "stored_id"),
    [(7, "7"), (7.0, "7"), (7.5, "7.5"), ("u1", "u1"), (10**30, "1" + "0" * 30)],
)
def test_user_id_becomes_a_string(given_id: object, stored_id: str) -> None:
    assert accept.normalise(track(userId=given_id))["userId"] == stored_id


@pytest.mark.parametrize("nothing", [None, "", "   "])
def test_empty_user_id_counts_as_absent(nothing: object) -> None:
    assert "userId" not in accept.normalise(track(userId=nothing, anonymousId="a1"))


def test_missing_message_id_is_made_up() -> None:
    made = accept.normalise(track(messageId=None))["messageId"]
    assert str(uuid.UUID(made)) == made


def test_long_message_ids_are_hashed_each_to_its_own() -> None:
    first, again, other = (
        accept.normalise(track(messageId=id_))["messageId"] for id_ in ("x" * 101, "x" * 101, "x" * 102)
    )
    assert first == again != other
    assert len(first) <= accept.MAX_MESSAGE_ID


@pytest.mark.parametrize(
    "call",
    [
        {"type": "identify", "traits": {"email": "a@x.io"}},
        {"type": "track", "event": "E", "context": {"traits": {"email": "a@x.io"}}},
        {"type": "page", "context": {"externalIds": [{"id": "1", "type": "crm"}]}},
        {"type": "screen", "anonymousId": "a"},
        {"type": "group", "groupId": "g", "userId": "u"},
        {"type": "alias", "previousId": "a", "userId": "u"},
    ],
)
def test_any_identifier_will_do(call: dict[str, Any]) -> None:
    assert accept.normalise(call)["type"] == call["type"]


@pytest.mark.parametrize(
    ("call", "field"),
    [
        ([], "call"),
        ("text", "call"),
        ({}, "type"),
        ({"type": "purchase", "userId": "u"}, "type"),
        ({"type": ["track"], "userId": "u"}, "type"),
        (track(event=None), "event"),
        (track(event=""), "event"),
        (track(event=3), "event"),
        (track(event="x" * 501), "event"),
        (track(userId=True), "userId"),
        (track(userId={"id": 1}), "userId"),
        (track(userId="u" * 501), "userId"),
        (track(userId=None), "userId"),
        (track(messageId=[1]), "messageId"),
        (track(properties=[1]), "properties"),
        (track(context="web"), "context"),
        ({"type": "alias", "userId": "u"}, "previousId"),
        ({"type": "alias", "previousId": "u"}, "userId"),
        ({"type": "group", "userId": "u"}, "groupId"),
        ({"type": "group", "groupId": "g", "traits": {"email": "a@x.io"}}, "userId"),
        ({"type": "identify", "userId": "u", "traits": {"x" * 501: 1}}, "traits"),
    ],
)
def test_refusal_names_the_field(call: object, field: str) -> None:
    with pytest.raises(errors.CallInvalid) as refused:
        accept.normalise(call)
    assert str(refused.value).startswith(f"{field}: ")


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (rb'{"a\u0000b": "c\u0000d"}', {"ab": "cd"}),
        (rb'["\ud800x", "\ud83d\ude00"]', ["\ufffdx", "\U0001f600"]),
        (b'["caf\xe9"]', ["caf\ufffd"]),
        (b"[1e400, -1e400, NaN, Infinity]", ["1e400", "-1e400", "NaN", "Infinity"]),
        (b"[12345678901234567890123]", [12345678901234567890123]),
        (b"[" + b"7" * 41 + b"]", ["7" * 41]),
        (b"[" + b"7" * 5000 + b"]", ["7" * 5000]),
        (b'["5e519", "12345678901234567890123"]', ["5e519", "12345678901234567890123"]),
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        (b'["line\nbreak"]', ["line\nbreak"]),
    ],
)
def test_poison_is_mended(body: bytes, value: object) -> None:
    assert accept.parse(body) == value


@pytest.mark.parametrize(
    "body", [b"", b"{", b"{'a': 1}", b"[1,]", b"\x00", b"[" * 100_000, b"[" * 200 + b"1e999" + b"]" * 200]
)
def test_what_is_not_json_is_refused(body: bytes) -> None:
    with pytest.raises(errors.CallInvalid):
        accept.parse(body)


def test_call_that_is_nested_too_deep_is_refused() -> None:
    nested = json.loads("[" * 300 + "]" * 300)
    with pytest.raises(errors.CallInvalid, match="nested"):
        accept.encode(accept.normalise(track(properties={"a": nested})))


def test_integers_beyond_64_bits_are_encoded_exactly() -> None:
    stored = accept.normalise(
        accept.parse(orjson.dumps(track())[:-1] + b',"properties":{"n":123456789012345678901234}}')
    )
    assert b'"n":123456789012345678901234' in accept.encode(stored)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=8) | st.just("\x00"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
_calls = st.fixed_dictionaries(
    {"type": st.sampled_from(sorted(accept.TYPES)) | _json},
    optional={
        name: _json | st.just("x")
        for name in (
            "userId",
            "anonymousId",
            "messageId",
            "event",
            "groupId",
            "previousId",
            "properties",
            "traits",
            "context",
            "timestamp",
            "sentAt",
        )
    },
)


@settings(deadline=None)
@given(_calls | _json)
def test_any_json_is_a_call_or_invalid(call: object) -> None:
    try:
        stored = accept.normalise(accept.parse(json.dumps(call).encode()))
    except errors.CallInvalid:
        return
    body = accept.encode(stored)
    assert b"\\u0000" not in body
    assert accept.normalise(accept.parse(body)) == stored


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_json_or_invalid(body: bytes) -> None:
    try:
        parsed = accept.parse(body)
    except errors.CallInvalid:
        return
    accept.encode({"value": parsed})
