"""The stand-in over HTTP."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from engage_sync.sandbox.options import (
    BULK_UPDATE,
    EVENTS_TRACK,
    TRACK_BULK,
    USERS_FORGET,
    USERS_MERGE,
    USERS_UPDATE,
    Options,
)
from engage_sync.sandbox.server import SandboxServer
from tests.unit.sandbox.test_forms import GOOD

KEY = {"Api-Key": "sandbox-key"}


@pytest.fixture(scope="module")
def shared() -> Iterator[SandboxServer]:
    with SandboxServer() as server:
        yield server


@pytest.fixture
def server(shared: SandboxServer) -> SandboxServer:
    shared.clear_data()
    shared.clear_faults()
    return shared


def ask(server: SandboxServer, method: str, path: str, body: Any = None, headers: Any = KEY) -> tuple[int, Any]:
    raw = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request(method, path, raw, headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def update(server: SandboxServer, email: str = "a@x.io", **fields: Any) -> tuple[int, Any]:
    return ask(server, "POST", USERS_UPDATE, {"email": email, "dataFields": fields})


def test_update_can_be_read_back(server: SandboxServer) -> None:
    assert update(server, plan="gold") == (200, {"msg": "", "code": "Success", "params": None})
    expected = {"email": "a@x.io", "userId": None, "dataFields": {"plan": "gold"}, "updates": 1}
    assert ask(server, "GET", "/api/users/a%40x.io") == (200, {"user": expected})
    assert ask(server, "GET", "/sandbox/users/a@x.io", headers={}) == (200, {"user": expected})
    assert ask(server, "GET", "/sandbox/users", headers={}) == (200, {"users": [expected]})
    assert (server.user("a@x.io"), server.users()) == (expected, [expected])
    assert ask(server, "GET", "/sandbox/fields")[1]["profile"] == {"plan": "string"}


def test_unknown_user_is_nothing(server: SandboxServer) -> None:
    assert ask(server, "GET", "/api/users/n@x.io") == (200, {})
    assert ask(server, "GET", "/api/users/byUserId/u9") == (200, {})
    assert ask(server, "GET", "/sandbox/users/n@x.io")[0] == 404
    assert server.user("n@x.io") is None


def test_events_are_read_back_newest_first(server: SandboxServer) -> None:
    for number in (1, 3, 2):
        body = {"email": "a@x.io", "eventName": "E", "id": f"m{number}", "createdAt": 1_700_000_000 + number}
        answer = ask(server, "POST", EVENTS_TRACK, body)
        assert answer[1]["params"] == {"id": f"m{number}"}
    found = ask(server, "GET", "/api/events/a@x.io?limit=2")[1]["events"]
    assert [event["id"] for event in found] == ["m3", "m2"]
    assert [event["id"] for event in server.events()] == ["m1", "m3", "m2"]
    assert len(ask(server, "GET", "/sandbox/events?after=1")[1]["events"]) == 2
    assert ask(server, "GET", "/api/events/a@x.io?limit=500")[0] == 400


@pytest.mark.parametrize("headers", [{}, {"Api-Key": "other"}])
@pytest.mark.parametrize(
    ("method", "path"), [("POST", USERS_UPDATE), ("GET", "/api/webhooks"), ("GET", "/api/users/a@x.io")]
)
def test_other_keys_are_refused(server: SandboxServer, headers: Any, method: str, path: str) -> None:
    status, body = ask(server, method, path, {"email": "a@x.io"} if method == "POST" else None, headers)
    assert (status, body["code"]) == (401, "BadApiKey")
    assert server.users() == []


def test_credentials_can_be_tried(server: SandboxServer) -> None:
    assert ask(server, "GET", "/api/webhooks") == (200, {"webhooks": []})


def test_unknown_endpoint_is_not_found(server: SandboxServer) -> None:
    assert ask(server, "POST", "/api/users/bulkUpsert", {})[0] == 404
    assert ask(server, "GET", "/api/lists")[0] == 404


@pytest.mark.parametrize("raw", [b"", b"{", b"[1]", b"\xff"])
def test_what_is_no_json_object_is_refused(server: SandboxServer, raw: bytes) -> None:
    status, body = ask(server, "POST", USERS_UPDATE, raw)
    assert (status, body["code"]) == (400, "BadJsonBody")


def test_body_over_the_limit_is_too_large(server: SandboxServer) -> None:
    assert update(server, text="x" * 3_900_000)[0] == 200
    status, body = update(server, text="x" * 4_000_000)
    assert (status, body["code"]) == (413, "BatchTooLarge")


def test_every_request_is_recorded_in_order(server: SandboxServer) -> None:
    before = time.monotonic()
    update(server, a=1)
    update(server, a="x")
    ask(server, "POST", USERS_UPDATE, b"{")
    found = ask(server, "GET", "/sandbox/requests?limit=2")[1]["requests"]
    assert [(each["sequence"], each["status"], each["acted"]) for each in found] == [(1, 200, True), (2, 400, False)]
    assert found[0]["body"] == {"email": "a@x.io", "dataFields": {"a": 1}}
    assert before <= found[0]["monotonic"] <= found[0]["finished"] <= found[1]["monotonic"] <= time.monotonic()
    assert abs(found[0]["unix"] - time.time()) < 60
    assert [each["body"] for each in server.requests(after=2)] == ["{"]
    assert ask(server, "GET", "/sandbox/summary")[1] == {
        "requests": {USERS_UPDATE: {"200": 1, "400": 2}},
        "total": 3,
        "users": 1,
        "events": 0,
        "repeats": 0,
    }


def test_too_many_requests_are_refused_until_the_second_is_over() -> None:
    with SandboxServer(Options(rate_limits={USERS_UPDATE: 3})) as server:
        statuses = [update(server)[0] for _ in range(5)]
        assert statuses == [200, 200, 200, 429, 429]
        assert server.summary()["requests"] == {USERS_UPDATE: {"200": 3, "429": 2}}


@pytest.mark.parametrize(
    ("method", "path", "rate"),
    [
        ("POST", BULK_UPDATE, 5),
        ("POST", TRACK_BULK, 10),
        ("POST", USERS_FORGET, 3),
        ("POST", USERS_MERGE, 50),
        ("DELETE", "/api/users/a@x.io", 100),
        ("DELETE", "/api/users/byUserId/u1", 100),
    ],
)
def test_rate_that_iterable_states_is_held(method: str, path: str, rate: int) -> None:
    body = json.dumps(GOOD[path]).encode() if method == "POST" else None
    with SandboxServer() as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        statuses = []
        for _ in range(rate + 1):
            connection.request(method, path, body, KEY)
            answer = connection.getresponse()
            answer.read()
            statuses.append(answer.status)
        connection.close()
        over = server.requests()[-1]["monotonic"] - server.requests()[0]["monotonic"] >= 1
        assert 429 not in statuses[:-1]
        assert over or statuses[-1] == 429


def test_user_can_be_deleted_in_either_way(server: SandboxServer) -> None:
    update(server)
    ask(server, "POST", USERS_UPDATE, {"userId": "u/1", "preferUserId": True})
    assert ask(server, "DELETE", "/api/users/a%40x.io") == (200, {"msg": "", "code": "Success", "params": None})
    assert ask(server, "DELETE", "/api/users/byUserId/u%2F1")[0] == 200
    assert server.users() == []
    assert ask(server, "DELETE", "/api/users/a@x.io")[1]["code"] == "BadParams"
    assert ask(server, "DELETE", "/api/users/a@x.io", headers={})[0] == 401


ENDPOINTS = [
    *(("POST", path) for path in GOOD),
    ("DELETE", "/api/users/a@x.io"),
    ("DELETE", "/api/users/byUserId/u1"),
    ("GET", "/api/users/a@x.io"),
    ("GET", "/api/users/byUserId/u1"),
    ("GET", "/api/events/a@x.io"),
    ("GET", "/api/webhooks"),
]


@pytest.mark.parametrize("kind", ["status", "delay", "reset", "lost", "half"])
@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
def test_every_endpoint_can_fail(server: SandboxServer, method: str, path: str, kind: str) -> None:
    server.add_faults({"kind": kind, "path": path, "times": 1, "status": 503, "seconds": 0.001})
    body = GOOD[path] if method == "POST" else None
    if kind in ("reset", "lost"):
        with pytest.raises(ConnectionError):
            ask(server, method, path, body)
    elif kind == "half":
        with pytest.raises(http.client.IncompleteRead):
            ask(server, method, path, body)
    else:
        assert (ask(server, method, path, body)[0] == 503) is (kind == "status")
    (record,) = server.requests()
    assert record["fault"] == kind
    if kind in ("status", "reset"):
        assert not record["acted"]


def test_fault_may_mean_one_entry_of_a_bulk_request(server: SandboxServer) -> None:
    server.add_faults({"kind": "status", "status": 503, "match": {"email": "b@x.io"}})
    users = [{"email": "a@x.io"}, {"email": "b@x.io"}]
    assert ask(server, "POST", BULK_UPDATE, {"users": users[:1]})[0] == 200
    assert ask(server, "POST", BULK_UPDATE, {"users": users})[0] == 503


def test_blocked_event_is_answered_with_success_and_not_kept() -> None:
    with SandboxServer(Options(disallowed_events=frozenset({"Noise"}))) as server:
        status, body = ask(server, "POST", EVENTS_TRACK, {"email": "a@x.io", "eventName": "Noise"})
        assert (status, body["code"]) == (200, "Success")
        assert "disallowed from tracking" in body["msg"]
        assert server.events() == []


def test_status_fault_answers_without_acting(server: SandboxServer) -> None:
    fault = {"kind": "status", "status": 429, "headers": {"Retry-After": "2"}, "times": 1}
    assert ask(server, "POST", "/sandbox/faults", [fault], headers={})[0] == 201
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("POST", USERS_UPDATE, b'{"email": "a@x.io"}', KEY)
    answer = connection.getresponse()
    assert (answer.status, answer.headers["Retry-After"]) == (429, "2")
    assert json.loads(answer.read())["code"] == "RateLimitExceeded"
    connection.close()
    assert server.users() == []
    assert update(server)[0] == 200
    assert ask(server, "GET", "/sandbox/faults")[1]["faults"][0]["hits"] == 1
    assert [each["fault"] for each in server.requests()] == ["status", None]


@pytest.mark.parametrize(("kind", "users"), [("reset", 0), ("lost", 1)])
def test_connection_is_cut_before_or_after_acting(server: SandboxServer, kind: str, users: int) -> None:
    server.add_faults({"kind": kind, "times": 1, "path": USERS_UPDATE, "match": {"email": "a@x.io"}})
    with pytest.raises(ConnectionError):
        update(server)
    assert len(server.users()) == users
    assert update(server)[0] == 200
    assert [(each["status"], each["fault"]) for each in server.requests()] == [(None, kind), (200, None)]
    assert server.summary()["requests"] == {USERS_UPDATE: {"200": 1, "cut": 1}}


def test_answer_ends_in_its_middle_after_acting(server: SandboxServer) -> None:
    server.add_faults({"kind": "half", "times": 1})
    with pytest.raises(http.client.IncompleteRead) as cut:
        update(server)
    assert cut.value.partial
    assert len(server.users()) == 1
    assert [(each["status"], each["fault"]) for each in server.requests()] == [(None, "half")]


@pytest.mark.parametrize(("when", "users"), [("before", 0), ("after", 1)])
def test_error_is_answered_before_or_in_spite_of_acting(server: SandboxServer, when: str, users: int) -> None:
    server.add_faults({"kind": "status", "status": 503, "when": when})
    assert update(server)[0] == 503
    assert len(server.users()) == users
    assert server.requests()[0]["acted"] is bool(users)


def test_turns_are_those_of_acting_not_of_arriving(server: SandboxServer) -> None:
    server.add_faults({"kind": "delay", "seconds": 0.1, "match": {"email": "slow@x.io"}})
    slow = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    slow.request("POST", USERS_UPDATE, b'{"email": "slow@x.io"}', KEY)
    assert ask(server, "GET", "/sandbox/requests")[0] == 200
    while not server.requests():
        time.sleep(0.001)
    assert update(server)[0] == 200
    assert slow.getresponse().status == 200
    slow.close()
    assert update(server, email="none")[0] == 400
    turns = [(each["body"]["email"], each["turn"]) for each in server.requests()]
    assert turns == [("slow@x.io", 2), ("a@x.io", 1), ("none", None)]


@pytest.mark.parametrize("when", ["before", "after"])
def test_delay_lets_others_pass(server: SandboxServer, when: str) -> None:
    server.add_faults({"kind": "delay", "seconds": 0.2, "match": {"email": "slow@x.io"}, "when": when})
    slow = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    slow.request("POST", USERS_UPDATE, b'{"email": "slow@x.io"}', KEY)
    assert update(server)[0] == 200
    assert slow.getresponse().status == 200
    slow.close()
    first, second = sorted(server.requests(), key=lambda each: each["finished"])
    assert (first["body"]["email"], second["body"]["email"]) == ("a@x.io", "slow@x.io")
    assert second["finished"] - second["monotonic"] >= 0.2


def test_delayed_request_still_acts_when_its_sender_has_gone(server: SandboxServer) -> None:
    server.add_faults({"kind": "delay", "seconds": 0.05, "times": 1})
    gone = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    gone.request("POST", USERS_UPDATE, b'{"email": "a@x.io"}', KEY)
    # Only once it has arrived is it the sandbox's to act on.
    while not server.requests():
        pass
    gone.close()
    deadline = time.monotonic() + 10
    while not server.users() and time.monotonic() < deadline:
        pass
    assert len(server.users()) == 1


def test_faults_that_are_not_understood_are_refused(server: SandboxServer) -> None:
    assert ask(server, "POST", "/sandbox/faults", {"kind": "explode"})[0] == 400
    assert ask(server, "POST", "/sandbox/faults", b"{")[0] == 400
    assert ask(server, "DELETE", "/sandbox/faults") == (200, {})


def test_data_can_be_cleared(server: SandboxServer) -> None:
    update(server, a=1)
    assert ask(server, "DELETE", "/sandbox/data", headers={}) == (200, {})
    assert server.summary()["total"] == 0
    assert update(server, a="x")[0] == 200


def test_port_in_use_is_an_error(server: SandboxServer) -> None:
    with pytest.raises(OSError, match="use"), SandboxServer(port=server.port):
        pass
