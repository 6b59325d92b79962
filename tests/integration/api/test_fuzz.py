"""Whatever is sent to any route, the answer is one of ours: never a 5xx, and stored only with a 200."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engage_sync.api import calls
from tests.integration.api.conftest import Inbox

ROUTES = st.sampled_from([f"/v1/{name}" for name in calls.TYPES])
KNOWN = {200, 400, 401, 413, 415}

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**50), 10**50)
    | st.floats()
    | st.text(st.characters(codec=None), max_size=20)
    | st.sampled_from(["\x00", "\ud800", "1e999", "u1", "2024-01-01T00:00:00Z", "track", "identify"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = (
    "type", "userId", "anonymousId", "event", "name", "properties", "traits", "context", "integrations", "messageId",
    "timestamp", "sentAt", "groupId", "previousId", "writeKey", "batch",
)  # fmt: skip
call_like = st.dictionaries(st.sampled_from(FIELDS), json_values, max_size=8).map(
    lambda call: {"userId": "u1", "event": "A", "groupId": "g1", "previousId": "a1", "type": "track", **call}
)
batch_like = st.fixed_dictionaries(
    {"batch": st.lists(call_like | json_values, max_size=4)},
    optional=dict.fromkeys(("context", "integrations", "sentAt", "timestamp"), json_values),
)


def encode(value: Any) -> bytes:
    # Python's own writer lets NaN, huge integers and lone surrogates through, as careless clients do.
    return json.dumps(value).encode()


def encoded(body: bytes) -> st.SearchStrategy[tuple[bytes, dict[str, str]]]:
    return st.sampled_from(
        [
            (body, {}),
            (body, {"content-type": "text/plain"}),
            (gzip.compress(body, mtime=0), {"content-encoding": "gzip"}),
            (zlib.compress(body), {"content-encoding": "deflate"}),
            (body, {"content-encoding": "gzip"}),
        ]
    )


bodies = (
    st.binary(max_size=300)
    | st.text(max_size=100).map(lambda text: text.encode("utf-8", "surrogatepass"))
    | json_values.map(encode)
    | call_like.map(encode)
    | batch_like.map(encode)
).flatmap(encoded)


@given(path=ROUTES, sent=bodies)
@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_body_makes_a_5xx(client: httpx.Client, path: str, sent: tuple[bytes, dict[str, str]]) -> None:
    body, headers = sent
    answer = client.post(path, content=body, headers=headers)
    assert answer.status_code in KNOWN, answer.text
    found = answer.json()
    assert found == {"success": True} if answer.status_code == 200 else set(found) == {"code", "message"}


@given(authorization=st.binary(max_size=60).filter(lambda value: not set(value) & set(b"\r\n\x00")))
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_authorization_makes_a_5xx(anonymous: httpx.Client, authorization: bytes) -> None:
    try:
        answer = anonymous.post("/v1/track", content=b"{}", headers={"authorization": authorization})
    except httpx.LocalProtocolError:
        return  # the client refuses to send it
    assert answer.status_code in {400, 401}


@pytest.mark.parametrize(
    "properties",
    [
        b'{"note": "\\u0000"}',
        b'{"note": "\\ud800"}',
        b'{"total": 1e400}',
        b'{"total": -1e-400}',
        b'{"total": NaN}',
        b'{"total": Infinity}',
        b'{"total": ' + b"9" * 5_000 + b"}",
        b'{"total": 0.' + b"1" * 5_000 + b"}",
        b'{"a": 1, "a": 2}',
        b'{"": "", "\\u0000": 1}',
        b'{"a": ' + b"[" * 90 + b"]" * 90 + b"}",
        '{"note": "ü✓😀"}'.encode(),
        '{"note": "ü"}'.encode("latin-1"),
    ],
)
def test_what_postgres_cannot_hold_is_mended(client: httpx.Client, inbox: Inbox, properties: bytes) -> None:
    body = b'{"userId": "u1", "event": "A", "messageId": "m1", "properties": ' + properties + b"}"
    assert client.post("/v1/track", content=body).status_code == 200
    assert client.post("/v1/batch", content=b'{"batch": [' + body[:-1] + b', "type": "track"}]}').status_code == 200
    first, second = inbox.calls()
    assert first == second
    assert orjson.dumps(first)
