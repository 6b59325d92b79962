"""Iterable's webhooks over real HTTP: secrets, limits, repetitions, and what then lies in the inbox."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from engage_sync.destinations.iterable import webhooks
from engage_sync.sync.ingest import resolve_inbox
from tests.integration.api.conftest import Inbox
from tests.integration.api.serving import SECRET, TOKEN, WRITE_KEY, Serving, serving
from tests.integration.api.test_fuzz import KNOWN, encode, encoded, json_values
from tests.integration.resolving import people, person, rows

PATH = "/webhooks/iterable/iterable_events"
OPEN: dict[str, Any] = {
    "email": "ann@example.com",
    "eventName": "emailOpen",
    "dataFields": {
        "email": "ann@example.com",
        "createdAt": "2026-01-02 18:51:45 +00:00",
        "campaignId": 49313,
        "messageId": "210b",
        "ip": "66.249.84.204",
    },
}


@pytest.fixture
def hooks(served: Serving) -> Iterator[httpx.Client]:
    """Iterable, with the right secret."""
    with httpx.Client(base_url=served.url, headers={"authorization": f"Basic {SECRET}"}) as made:
        yield made


def basic(pair: str) -> str:
    return "Basic " + base64.b64encode(pair.encode()).decode()


def metric(served: Serving, line: str) -> bool:
    answer = httpx.get(served.url + "/metrics", headers={"authorization": f"Bearer {TOKEN}"})
    return line in answer.text.splitlines()


def test_a_webhook_is_a_track_call_of_its_source_and_a_200_means_committed(hooks: httpx.Client, inbox: Inbox) -> None:
    answer = hooks.post(PATH, json=OPEN)
    assert (answer.status_code, answer.json()) == (200, {"success": True})
    assert inbox.rows() == [("iterable_events", webhooks.read(OPEN).call)]
    (call,) = inbox.calls()
    assert (call["type"], call["event"], call["timestamp"]) == ("track", "Email Opened", "2026-01-02T18:51:45+00:00")
    assert call["integrations"] == {"All": True, "Iterable": False}


def test_a_repeated_delivery_counts_once(hooks: httpx.Client, engine: Engine) -> None:
    later = {**OPEN, "dataFields": {**OPEN["dataFields"], "createdAt": "2026-01-02 19:00:00 +00:00"}}
    for payload in (OPEN, later, OPEN):
        assert hooks.post(PATH, json=payload).status_code == 200
    resolve_inbox(engine, {})
    assert hooks.post(PATH, json=later).status_code == 200
    resolve_inbox(engine, {})
    found = rows(engine, "SELECT name, (timestamp AT TIME ZONE 'UTC')::text FROM events ORDER BY timestamp")
    assert found == [("Email Opened", "2026-01-02 18:51:45"), ("Email Opened", "2026-01-02 19:00:00")]


def test_the_event_is_that_of_whoever_has_the_email_or_the_user_id(
    hooks: httpx.Client, client: httpx.Client, engine: Engine
) -> None:
    client.post("/v1/identify", json={"userId": "u1", "traits": {"email": "ann@example.com"}})
    hooks.post(PATH, json=OPEN)
    hooks.post(PATH, json={"userId": "u1", "eventName": "pushOpen"})
    hooks.post(PATH, json={"email": "New@example.com", "eventName": "emailBounce"})
    resolve_inbox(engine, {})
    assert people(engine) == [
        person(["email:new@example.com"], events=["Email Bounced"]),
        person(
            ["user_id:u1", "email:ann@example.com"],
            traits={"email": "ann@example.com"},
            events=["Email Opened", "Push Opened"],
        ),
    ]


@pytest.mark.parametrize(
    "authorization",
    [
        f"Basic {SECRET}",
        f"OAuth2 {SECRET}",
        f"Bearer {SECRET}",
        SECRET,
        basic(f"{SECRET}:"),
        basic(f"iterable:{SECRET}"),
    ],
    ids=["basic", "oauth2", "bearer", "alone", "as a user name", "as a password"],
)
def test_the_secret_is_found_in_the_authorization_header(
    anonymous: httpx.Client, inbox: Inbox, authorization: str
) -> None:
    assert anonymous.post(PATH, json=OPEN, headers={"authorization": authorization}).status_code == 200
    assert len(inbox.calls()) == 1


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": ""},
        {"authorization": "Basic"},
        {"authorization": "Basic wrong"},
        {"authorization": f"Basic {SECRET[:-1]}"},
        {"authorization": f"Basic {SECRET}x"},
        {"authorization": f"Basic {WRITE_KEY}"},
        {"authorization": f"Bearer {TOKEN}"},
        {"authorization": basic(":")},
        {"authorization": basic("wrong:wrong")},
        {"authorization": b"Basic \xff\xfe"},
        {"x-authorization": f"Basic {SECRET}"},
    ],
)
@pytest.mark.parametrize("body", [json.dumps(OPEN).encode(), b"{"], ids=["a webhook", "no JSON"])
def test_without_the_secret_it_is_401_and_nothing_is_stored(
    anonymous: httpx.Client, inbox: Inbox, headers: dict[str, Any], body: bytes
) -> None:
    answer = anonymous.post(PATH, content=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
    assert SECRET not in answer.text
    assert "wrong:" not in answer.text
    assert inbox.calls() == []


def test_a_webhooks_secret_is_no_write_key(anonymous: httpx.Client) -> None:
    assert anonymous.post("/v1/track", json={"userId": "u1", "event": "A"}, auth=(SECRET, "")).status_code == 401


@pytest.mark.parametrize("source", ["", "other", "web", "iterable_events/more", "%F0%9F%98%80"])
def test_a_source_that_is_none_of_iterables_is_404(hooks: httpx.Client, inbox: Inbox, source: str) -> None:
    answer = hooks.post(f"/webhooks/iterable/{source}", json=OPEN)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert "type iterable in engage.yml" in answer.json()["message"]
    assert inbox.calls() == []


def test_a_slash_at_the_end_does_no_harm(hooks: httpx.Client) -> None:
    assert hooks.post(PATH + "/", json=OPEN).status_code == 200


@pytest.mark.parametrize("method", ["GET", "PUT", "OPTIONS", "DELETE"])
def test_webhooks_are_posted(hooks: httpx.Client, method: str) -> None:
    answer = hooks.request(method, PATH)
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "body: expected JSON"),
        (b"{", "body: expected JSON"),
        (b"[]", "body: expected a JSON object"),
        (b"{}", "eventName: expected"),
        (b'{"eventName": "emailOpen"}', "email: expected an email, or a userId"),
        (b'{"eventName": "emailOpen", "email": "a@x.io", "dataFields": 1}', "dataFields: expected an object"),
        (b'{"eventName": "emailOpen", "email": "a@x.io", "dataFields": {"a": ' + b"[" * 20_000, "body: "),
        (
            b'{"eventName": "emailOpen", "email": "a@x.io", "dataFields": {"a": ' + b"[" * 300 + b"]" * 300 + b"}}",
            "call: nested more than 100 levels deep",
        ),
    ],
)
def test_what_is_malformed_is_400_with_the_reason(hooks: httpx.Client, inbox: Inbox, body: bytes, reason: str) -> None:
    answer = hooks.post(PATH, content=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")
    assert answer.json()["message"].startswith(reason)
    assert inbox.calls() == []


def sized(size: int) -> bytes:
    empty = json.dumps({**OPEN, "note": ""}).encode()
    return json.dumps({**OPEN, "note": "x" * (size - len(empty))}).encode()


@pytest.mark.parametrize(("size", "status"), [(1_000_000, 200), (1_000_001, 413), (5_000_000, 413)])
@pytest.mark.parametrize("compressed", [False, True])
def test_a_webhook_may_be_much_larger_than_a_call(
    hooks: httpx.Client, inbox: Inbox, size: int, status: int, compressed: bool
) -> None:
    body, headers = sized(size), {}
    assert len(body) == size
    if compressed:
        body, headers = gzip.compress(body, mtime=0), {"content-encoding": "gzip"}
    assert hooks.post(PATH, content=body, headers=headers).status_code == status
    assert len(inbox.calls()) == (status == 200)


@pytest.mark.parametrize(
    "headers", [{}, {"content-type": "application/json; charset=utf-8"}, {"content-type": "text/plain"}]
)
def test_the_content_type_is_not_looked_at(hooks: httpx.Client, inbox: Inbox, headers: dict[str, str]) -> None:
    assert hooks.post(PATH, content=json.dumps(OPEN).encode(), headers=headers).status_code == 200
    assert len(inbox.calls()) == 1


def test_a_full_inbox_is_429(engine: Engine) -> None:
    with serving(engine, inbox_limit=0) as served:
        served.backlog.add(1)
        answer = httpx.post(served.url + PATH, json=OPEN, headers={"authorization": f"Basic {SECRET}"})
    assert (answer.status_code, answer.json()["code"]) == (429, "too_many_requests")
    assert int(answer.headers["retry-after"]) > 0


def test_what_came_is_counted_by_source_and_event_and_the_unknown_together(
    hooks: httpx.Client, served: Serving, inbox: Inbox
) -> None:
    for event in ("emailOpen", "emailUnsubscribe", "embeddedClick", "journeyExit"):
        assert hooks.post(PATH, json={**OPEN, "eventName": event}).status_code == 200
    hooks.post(PATH, json={})
    hooks.post(PATH, json=OPEN, headers={"authorization": "Basic wrong"})
    assert [call["event"] for call in inbox.calls()] == [
        "Email Opened", "Unsubscribed", "Iterable embeddedClick", "Iterable journeyExit",
    ]  # fmt: skip
    for line in (
        'engage_sync_calls_accepted_total{source="iterable_events",type="track"} 4.0',
        'engage_sync_webhooks_accepted_total{event="emailOpen",source="iterable_events"} 1.0',
        'engage_sync_webhooks_accepted_total{event="emailUnSubscribe",source="iterable_events"} 1.0',
        'engage_sync_webhooks_accepted_total{event="unknown",source="iterable_events"} 2.0',
        'engage_sync_requests_refused_total{code="invalid_request"} 1.0',
        'engage_sync_requests_refused_total{code="unauthorized"} 1.0',
    ):
        assert metric(served, line), line


FIELDS = ("email", "userId", "eventName", "eventTitle", "dataFields")
webhook_like = st.dictionaries(st.sampled_from(FIELDS), json_values, max_size=4).map(
    lambda changed: {"email": "a@x.io", "eventName": "emailClick", "dataFields": {}, **changed}
)
fields_like = st.dictionaries(
    st.sampled_from(["createdAt", "email", "campaignId", "linkId", "emailListIds", "ip", "userAgent", "x"]), json_values
).map(lambda fields: {**OPEN, "dataFields": fields})


@given(
    sent=(
        st.binary(max_size=300) | json_values.map(encode) | webhook_like.map(encode) | fields_like.map(encode)
    ).flatmap(encoded)
)
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_body_makes_a_5xx(hooks: httpx.Client, sent: tuple[bytes, dict[str, str]]) -> None:
    body, headers = sent
    answer = hooks.post(PATH, content=body, headers=headers)
    assert answer.status_code in KNOWN - {401}, answer.text
    found = answer.json()
    assert found == {"success": True} if answer.status_code == 200 else set(found) == {"code", "message"}


@given(authorization=st.binary(max_size=60).filter(lambda value: not set(value) & set(b"\r\n\x00")))
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_authorization_makes_a_5xx(anonymous: httpx.Client, authorization: bytes) -> None:
    try:
        answer = anonymous.post(PATH, content=b"{}", headers={"authorization": authorization})
    except httpx.LocalProtocolError:
        return  # the client refuses to send it
    # 400 is the server's own answer to what is no HTTP.
    assert answer.status_code in {400, 401}
