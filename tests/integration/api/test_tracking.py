"""The tracking API over real HTTP: every route, encoding, limit and error; and what then lies in the inbox."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import socket
import time
import zlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest
from sqlalchemy import Engine, text

from tests.integration.api.conftest import Inbox
from tests.integration.api.serving import WRITE_KEY, Serving, serving

CALLS: dict[str, dict[str, Any]] = {
    "identify": {"userId": "u1", "traits": {"plan": "free"}},
    "track": {"userId": "u1", "event": "Order Completed", "properties": {"total": 12.5}},
    "page": {"anonymousId": "a1", "name": "Home"},
    "screen": {"anonymousId": "a1", "name": "Cart"},
    "group": {"userId": "u1", "groupId": "g1", "traits": {"name": "Acme"}},
    "alias": {"previousId": "a1", "userId": "u1"},
}
TRACK = CALLS["track"]


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("short", [False, True])
@pytest.mark.parametrize("type_", CALLS)
def test_the_path_gives_the_type_and_a_200_means_committed(
    client: httpx.Client, inbox: Inbox, type_: str, short: bool, slash: str
) -> None:
    call = {**CALLS[type_], "messageId": "m1"}
    answer = client.post(f"/v1/{type_[0] if short else type_}{slash}", json=call)
    assert (answer.status_code, answer.json()) == (200, {"success": True})
    assert inbox.rows() == [("web", {**call, "type": type_})]


@pytest.mark.parametrize("path", ["/v1/batch", "/v1/b", "/v1/import", "/v1/batch/"])
def test_each_call_of_a_batch_has_its_own_type(client: httpx.Client, inbox: Inbox, path: str) -> None:
    batch = [{**call, "type": type_, "messageId": type_} for type_, call in CALLS.items()]
    answer = client.post(path, json={"batch": batch})
    assert (answer.status_code, answer.json()) == (200, {"success": True})
    assert inbox.calls() == batch


def test_what_a_batch_says_holds_for_each_call_that_says_nothing_else(client: httpx.Client, inbox: Inbox) -> None:
    body = {
        "context": {"ip": "1.2.3.4", "app": {"name": "shop"}},
        "integrations": {"All": True},
        "sentAt": "2024-01-01T00:00:01Z",
        "timestamp": "2024-01-01T00:00:00Z",
        "batch": [
            {"type": "track", "event": "A", "userId": "u1", "messageId": "m1"},
            {
                "type": "track",
                "event": "B",
                "userId": "u1",
                "messageId": "m2",
                "context": {"ip": "9.9.9.9"},
                "integrations": {"All": False, "Iterable": True},
                "sentAt": "2024-01-02T00:00:01Z",
                "timestamp": "2024-01-02T00:00:00Z",
            },
        ],
    }
    assert client.post("/v1/batch", json=body).status_code == 200
    first, second = inbox.calls()
    assert first == {**body["batch"][0], **{name: value for name, value in body.items() if name != "batch"}}
    assert second == {**body["batch"][1], "context": {"ip": "9.9.9.9", "app": {"name": "shop"}}}


def test_one_bad_call_refuses_its_batch_and_is_named(client: httpx.Client, inbox: Inbox) -> None:
    good = {**TRACK, "type": "track"}
    answer = client.post("/v1/batch", json={"batch": [good, good, {"type": "track", "userId": "u1"}]})
    assert answer.status_code == 400
    assert answer.json()["code"] == "invalid_request"
    assert answer.json()["message"].startswith("batch[2]: event: expected")
    assert inbox.calls() == []


def test_an_empty_batch_is_taken(client: httpx.Client, inbox: Inbox) -> None:
    assert client.post("/v1/batch", json={"batch": []}).status_code == 200
    assert inbox.calls() == []


BASIC = "Basic " + base64.b64encode(f"{WRITE_KEY}:".encode()).decode()


@pytest.mark.parametrize(
    ("headers", "extra"),
    [
        ({"authorization": BASIC}, {}),
        ({"authorization": "basic " + base64.b64encode(f"{WRITE_KEY}:secret".encode()).decode()}, {}),
        ({"authorization": "Basic " + base64.b64encode(WRITE_KEY.encode()).decode()}, {}),
        ({"authorization": f"Bearer {WRITE_KEY}"}, {}),
        ({}, {"writeKey": WRITE_KEY}),
        ({"authorization": "Bearer some-oauth-token"}, {"writeKey": WRITE_KEY}),
    ],
    ids=["basic", "basic with password", "basic without colon", "bearer", "body", "oauth and body"],
)
@pytest.mark.parametrize("path", ["/v1/track", "/v1/batch"])
def test_the_write_key_is_found(
    anonymous: httpx.Client, inbox: Inbox, path: str, headers: dict[str, str], extra: dict[str, str]
) -> None:
    body = TRACK if path == "/v1/track" else {"batch": [{**TRACK, "type": "track"}]}
    assert anonymous.post(path, json={**body, **extra}, headers=headers).status_code == 200
    [(source, call)] = inbox.rows()
    assert source == "web"
    assert "writeKey" not in call


def test_a_call_is_stored_for_the_source_whose_key_it_has(anonymous: httpx.Client, inbox: Inbox) -> None:
    assert anonymous.post("/v1/track", json=TRACK, auth=("shop-write-key", "")).status_code == 200
    assert [source for source, _ in inbox.rows()] == ["shop"]


@pytest.mark.parametrize(
    ("headers", "extra"),
    [
        ({}, {}),
        ({"authorization": "Basic " + base64.b64encode(b"wrong:").decode()}, {}),
        ({"authorization": "Basic !!!"}, {}),
        ({"authorization": "Basic"}, {}),
        ({"authorization": b"Basic \xff\xfe"}, {}),
        ({"authorization": "Basic " + base64.b64encode(b"\xff\xfe:").decode()}, {}),
        ({"authorization": "Bearer wrong"}, {}),
        ({"authorization": "Digest " + WRITE_KEY}, {}),
        ({}, {"writeKey": "wrong"}),
        ({}, {"writeKey": [WRITE_KEY]}),
        ({}, {"writeKey": ""}),
    ],
)
def test_an_unknown_write_key_is_401(
    anonymous: httpx.Client, inbox: Inbox, headers: dict[str, Any], extra: dict[str, Any]
) -> None:
    answer = anonymous.post("/v1/track", json={**TRACK, **extra}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
    assert "wrong" not in answer.text
    assert inbox.calls() == []


def chunks(body: bytes, size: int = 7) -> Iterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


ENCODED = json.dumps({**TRACK, "messageId": "m1"}).encode()


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (ENCODED, {"content-type": "text/plain"}),
        (ENCODED, {"content-type": "text/plain;charset=UTF-8"}),
        (ENCODED, {}),
        (b"\xef\xbb\xbf" + ENCODED, {}),
        (gzip.compress(ENCODED, mtime=0), {"content-encoding": "gzip"}),
        (gzip.compress(ENCODED[:20], mtime=0) + gzip.compress(ENCODED[20:], mtime=0), {"content-encoding": "GZIP"}),
        (zlib.compress(ENCODED), {"content-encoding": "deflate"}),
        (ENCODED, {"content-encoding": "identity"}),
        (chunks(ENCODED), {}),
        (chunks(gzip.compress(ENCODED, mtime=0)), {"content-encoding": "gzip"}),
    ],
    ids=[
        "plain", "plain with charset", "no type", "byte order mark", "gzip", "gzip of two members", "deflate",
        "identity", "chunked", "chunked gzip",
    ],
)  # fmt: skip
def test_bodies_come_in_many_forms(
    client: httpx.Client, inbox: Inbox, body: bytes | Iterator[bytes], headers: dict[str, str]
) -> None:
    # A fixed iterator would be used up by a second run; the parameters are made once.
    content = body if isinstance(body, bytes) else iter(list(body))
    assert client.post("/v1/track", content=content, headers=headers).status_code == 200
    assert inbox.calls() == [{**TRACK, "type": "track", "messageId": "m1"}]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/track", b""),
        ("/v1/track", b"{"),
        ("/v1/track", b"[]"),
        ("/v1/track", b"null"),
        ("/v1/track", b'"text"'),
        ("/v1/track", b"{}"),
        ("/v1/track", b'{"event": "A"}'),
        ("/v1/track", b'{"userId": "u1"}'),
        ("/v1/track", b'{"userId": "u1", "event": "A", "properties": []}'),
        ("/v1/track", b"[" * 20_000),
        ("/v1/track", b'{"a":' * 5_000),
        ("/v1/batch", b"{}"),
        ("/v1/batch", b"[]"),
        ("/v1/batch", b'{"batch": {}}'),
        ("/v1/batch", b'{"batch": [1]}'),
        ("/v1/batch", b'{"batch": [[]]}'),
        ("/v1/batch", b'{"batch": [{"userId": "u1"}]}'),
        ("/v1/batch", b'{"batch": [{"type": "batch", "userId": "u1"}]}'),
        ("/v1/batch", b'{"batch": [{"type": "page", "userId": "u1"}], "context": []}'),
    ],
)
def test_what_is_malformed_is_400(client: httpx.Client, inbox: Inbox, path: str, body: bytes) -> None:
    answer = client.post(path, content=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")
    assert set(answer.json()) == {"code", "message"}
    assert inbox.calls() == []


@pytest.mark.parametrize(
    ("body", "encoding", "status"),
    [
        (ENCODED, "gzip", 400),
        (gzip.compress(ENCODED, mtime=0)[:-10], "gzip", 400),
        (gzip.compress(ENCODED, mtime=0) + b"rest", "gzip", 400),
        (ENCODED, "br", 415),
        (ENCODED, "gzip, gzip", 415),
    ],
)
def test_a_body_that_cannot_be_decoded_is_refused(
    client: httpx.Client, body: bytes, encoding: str, status: int
) -> None:
    answer = client.post("/v1/track", content=body, headers={"content-encoding": encoding})
    assert answer.status_code == status
    assert set(answer.json()) == {"code", "message"}


def sized(size: int) -> bytes:
    body = json.dumps({**TRACK, "messageId": "m1", "properties": {"note": ""}}).encode()
    return body.replace(b'"note": ""', b'"note": "' + b"x" * (size - len(body)) + b'"')


def batch_sized(size: int) -> bytes:
    call = json.dumps({"type": "track", "event": "A", "userId": "u1", "properties": {"note": "x" * 20_000}}).encode()
    body = b'{"batch": [' + b",".join([call] * (size // (len(call) + 1))) + b"]"
    return body + b" " * (size - len(body) - 1) + b"}"


def many(count: int) -> bytes:
    return json.dumps({"batch": [{"type": "page", "userId": "u1"}] * count}).encode()


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/track", sized(32_768), 200),
        ("/v1/track", sized(32_769), 413),
        ("/v1/t", sized(5_000_000), 413),
        ("/v1/batch", batch_sized(500_000), 200),
        ("/v1/batch", batch_sized(500_001), 413),
        ("/v1/batch", batch_sized(6_000_000), 413),
        ("/v1/batch", many(2_500), 200),
        ("/v1/batch", many(2_501), 413),
    ],
    ids=["event", "event+1", "event of 5 MB", "batch", "batch+1", "batch of 6 MB", "calls", "calls+1"],
)
@pytest.mark.parametrize("form", ["plain", "chunked", "gzip"])
def test_limits(client: httpx.Client, inbox: Inbox, path: str, body: bytes, status: int, form: str) -> None:
    headers = {"content-encoding": "gzip"} if form == "gzip" else {}
    content = {"plain": body, "chunked": chunks(body, 60_000), "gzip": gzip.compress(body, mtime=0)}[form]
    answer = client.post(path, content=content, headers=headers)
    assert answer.status_code == status
    if status == 413:
        assert answer.json()["code"] == "payload_too_large"
        assert inbox.calls() == []
    else:
        assert len(inbox.calls()) == (1 if path == "/v1/track" else len(json.loads(body)["batch"]))


def test_who_sends_on_after_the_answer_still_hears_it(served: Serving) -> None:
    # The answer comes before the body is complete; what follows must not reset the connection over it.
    with socket.create_connection(("127.0.0.1", urlsplit(served.url).port)) as connection:
        connection.sendall(b"POST /v1/track HTTP/1.1\r\nhost: x\r\ncontent-length: 5000000\r\n\r\n")
        for _ in range(50):
            connection.sendall(b"x" * 100_000)
            time.sleep(0.002)
        answer = b""
        while piece := connection.recv(65_536):
            answer += piece
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in head
    assert json.loads(body)["code"] == "payload_too_large"


def test_a_call_in_a_batch_has_the_limit_of_a_call(client: httpx.Client, inbox: Inbox) -> None:
    fits = {"type": "track", "event": "A", "userId": "u1", "properties": {"note": "x" * 32_000}}
    context = {"page": {"title": "y" * 10_000}}
    # What the batch adds is not the call's own size.
    assert client.post("/v1/batch", json={"batch": [fits], "context": context}).status_code == 200
    too_large = {**fits, "properties": {"note": "x" * 32_768}}
    answer = client.post("/v1/batch", json={"batch": [fits, too_large]})
    assert (answer.status_code, answer.json()["code"]) == (413, "payload_too_large")
    assert answer.json()["message"].startswith("batch[1]: ")
    assert len(inbox.calls()) == 1


def test_a_context_for_all_does_not_make_gigabytes_of_a_small_body(client: httpx.Client, inbox: Inbox) -> None:
    body = {"context": {"x": "y" * 300_000}, "batch": [{"type": "page", "userId": "u1"}] * 2_500}
    assert client.post("/v1/batch", json=body).status_code == 413
    assert inbox.calls() == []


def test_a_bomb_is_not_unpacked(client: httpx.Client) -> None:
    bomb = gzip.compress(b" " * 200_000_000, 9, mtime=0)
    assert len(bomb) < 500_000
    answer = client.post("/v1/batch", content=bomb, headers={"content-encoding": "gzip"})
    assert (answer.status_code, answer.json()["code"]) == (413, "payload_too_large")


@pytest.mark.parametrize("path", ["/v1/track", "/v1/t", "/v1/batch/"])
def test_a_preflight_is_answered_for_any_page(anonymous: httpx.Client, path: str) -> None:
    answer = anonymous.options(
        path,
        headers={
            "origin": "https://shop.example",
            "access-control-request-method": "POST",
            "access-control-request-headers": "authorization,content-type",
        },
    )
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert {"authorization", "content-type"} <= set(answer.headers["access-control-allow-headers"].split(", "))


def test_a_page_may_read_answers_and_errors(client: httpx.Client) -> None:
    headers = {"origin": "https://shop.example"}
    for body in (TRACK, {}):
        answer = client.post("/v1/track", json=body, headers=headers)
        assert answer.headers["access-control-allow-origin"] == "*"
        assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "HEAD"])
def test_other_methods_are_405(client: httpx.Client, method: str) -> None:
    answer = client.request(method, "/v1/track")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST, OPTIONS"
    if method != "HEAD":
        assert answer.json()["code"] == "method_not_allowed"


@pytest.mark.parametrize("path", ["/v1/unknown", "/v1", "/v1/track/more", "/v2/track", "/nowhere"])
def test_other_paths_are_404(client: httpx.Client, path: str) -> None:
    answer = client.post(path, json=TRACK)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert set(answer.json()) == {"code", "message"}


def test_a_full_inbox_is_429_until_there_is_room(engine: Engine, inbox: Inbox) -> None:
    with (
        serving(engine, inbox_limit=1_000) as served,
        httpx.Client(base_url=served.url, auth=(WRITE_KEY, "")) as client,
    ):
        page = {"type": "page", "userId": "u1"}
        # A burst between two looks is noticed without asking the database.
        assert client.post("/v1/batch", json={"batch": [page] * 1_001}).status_code == 200
        answer = client.post("/v1/page", json=page)
        assert (answer.status_code, answer.json()["code"]) == (429, "too_many_requests")
        assert int(answer.headers["retry-after"]) > 0
        assert int(answer.headers["x-ratelimit-reset"]) > 1_700_000_000_000
        assert len(inbox.calls()) == 1_001
        with engine.begin() as connection:
            connection.execute(text("DELETE FROM inbox WHERE id > (SELECT min(id) FROM inbox)"))
        asyncio.run(served.backlog.run_once())
        assert client.post("/v1/page", json=page).status_code == 200


def test_the_backlog_is_counted_where_the_ids_have_gaps(engine: Engine, client: httpx.Client, served: Serving) -> None:
    page = {"type": "page", "userId": "u1"}
    assert client.post("/v1/batch", json={"batch": [page] * 100}).status_code == 200
    with engine.begin() as connection:
        connection.execute(
            text("DELETE FROM inbox WHERE id NOT IN ((SELECT min(id) FROM inbox), (SELECT max(id) FROM inbox))")
        )
    served.backlog._limit = 50
    asyncio.run(served.backlog.run_once())
    assert (served.backlog.waiting, served.backlog.is_full) == (2, False)


def test_without_the_database_it_is_503_and_nothing_is_told_of_it(
    engine: Engine, database_url: str, server_url: str, inbox: Inbox
) -> None:
    name = database_url.rpartition("/")[2].partition("?")[0]
    with serving(engine) as served, httpx.Client(base_url=served.url, auth=(WRITE_KEY, "")) as client:
        with psycopg.connect(server_url, autocommit=True) as operator:
            operator.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
            operator.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
            answer = client.post("/v1/track", json=TRACK)
            assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
            assert int(answer.headers["retry-after"]) > 0
            assert name not in answer.text
            ready = client.get("/health/ready")
            assert (ready.status_code, ready.json()["code"]) == (503, "not_ready")
            assert name not in ready.text
            operator.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
        assert client.post("/v1/track", json=TRACK).status_code == 200
        assert len(inbox.calls()) == 1


def test_a_database_that_hangs_is_503_in_time(engine: Engine, database_url: str) -> None:
    with (
        serving(engine, seconds_to_commit=0.3) as served,
        httpx.Client(base_url=served.url, auth=(WRITE_KEY, "")) as client,
        psycopg.connect(database_url) as blocker,
    ):
        blocker.execute("LOCK TABLE inbox IN ACCESS EXCLUSIVE MODE")
        answer = client.post("/v1/track", json=TRACK)
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        blocker.rollback()


def test_a_client_that_goes_away_midway_disturbs_nobody(served: Serving, client: httpx.Client, inbox: Inbox) -> None:
    host, port = served.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as half:
        half.sendall(
            f"POST /v1/track HTTP/1.1\r\nhost: x\r\nauthorization: {BASIC}\r\ncontent-length: 500\r\n\r\n{{".encode()
        )
    assert client.post("/v1/track", json=TRACK).status_code == 200
    assert len(inbox.calls()) == 1


def test_clients_on_devices_learn_where_to_send(anonymous: httpx.Client, served: Serving) -> None:
    answer = anonymous.get(f"/v1/projects/{WRITE_KEY}/settings")
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "*"
    segment = answer.json()["integrations"]["Segment.io"]
    assert (segment["apiKey"], segment["protocol"]) == (WRITE_KEY, "http")
    assert segment["apiHost"] == served.url.removeprefix("http://") + "/v1"
    unknown = anonymous.get("/v1/projects/wrong/settings")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "not_found")
