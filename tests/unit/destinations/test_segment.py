"""Calls passed on to a tracking API of Segment's kind."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from engage_sync.destinations import registry
from engage_sync.destinations.protocol import Answer, Delivered, Destination, Refused, Rejected, Request
from tests.unit.destinations.calls import Config, call

NAMED = {"page": {"name": "Cart"}, "screen": {"name": "Cart"}, "alias": {"previousId": "u0"}, "group": {"groupId": "g"}}


def segment(**settings: Any) -> Destination:
    return registry.build(Config(slug="elsewhere", type="segment", settings={"write_key": "k3y", **settings}))


def sent(called: dict[str, Any], **settings: Any) -> Request:
    requests = segment(**settings).requests(called)
    assert isinstance(requests, tuple), requests
    (request,) = requests
    return request


def test_write_key_is_the_user_of_basic_authentication() -> None:
    scheme, _, credentials = segment().headers["Authorization"].partition(" ")
    assert (scheme, base64.b64decode(credentials)) == ("Basic", b"k3y:")


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ({}, "https://api.segment.io"),
        ({"base_url": "https://events.eu1.segmentapis.com/"}, "https://events.eu1.segmentapis.com"),
        ({"base_url": "http://127.0.0.1:8090/v1/"}, "http://127.0.0.1:8090"),
        ({"base_url": "https://x.io/engage"}, "https://x.io/engage"),
    ],
)
def test_address_may_be_another_receivers(given: dict[str, Any], address: str) -> None:
    assert segment(**given).base_url == address


@pytest.mark.parametrize(
    ("kind", "budget"),
    [
        ("identify", "identify"),
        ("alias", "identify"),
        ("group", "identify"),
        ("track", "track"),
        ("page", "track"),
        ("screen", "track"),
    ],
)
def test_call_is_a_batch_of_its_own_as_it_is(kind: str, budget: str) -> None:
    given = call(kind, event="E", context={"ip": "1.2.3.4"}, integrations={"Iterable": False}, **NAMED.get(kind, {}))
    expected = Request(method="POST", path="/v1/batch", body={"batch": [given]}, budget=budget)
    assert sent(given) == expected


def test_email_alone_gives_an_anonymous_id_that_stays_the_same() -> None:
    identify = sent(call("identify", userId=None, traits={"email": "A@x.io"})).body["batch"][0]
    track = sent(call("track", userId=None, event="E", context={"traits": {"email": "a@x.io "}})).body["batch"][0]
    other = sent(call("identify", userId=None, traits={"email": "b@x.io"})).body["batch"][0]
    assert identify["anonymousId"] == track["anonymousId"] != other["anonymousId"]
    assert identify["traits"] == {"email": "A@x.io"}
    refused = segment(anonymous_id_from_email=False).requests(call("identify", userId=None, traits={"email": "a@x.io"}))
    assert isinstance(refused, Refused)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        (call("track"), "event"),
        (call("track", event=" "), "event"),
        (call("alias"), "previousId"),
        (call("group"), "groupId"),
        (call("identify", traits=[1]), "traits"),
        (call("identify", userId=" "), "userId"),
        (call("delete"), "type"),
    ],
)
def test_what_a_receiver_would_refuse_is_refused_by_field(given: dict[str, Any], field: str) -> None:
    found = segment().requests(given)
    assert isinstance(found, Refused)
    assert found.field == field


def test_call_over_the_limit_of_a_call_is_refused() -> None:
    found = segment().requests(call("identify", traits={"text": "x" * 33_000}))
    assert isinstance(found, Refused)
    assert "at most 32,768" in found.reason


def test_number_beyond_64_bits_becomes_a_double() -> None:
    assert sent(call("identify", traits={"n": 10**30})).body["batch"][0]["traits"] == {"n": 1e30}


@pytest.mark.parametrize(
    ("body", "kind"), [(b"", Delivered), (b'{"success": true}', Delivered), (b'{"success": false}', Rejected)]
)
def test_answer_of_success_may_say_no(body: bytes, kind: type) -> None:
    outcome = segment().outcome(sent(call("identify")), Answer(status=200, headers={}, body=body))
    assert type(outcome) is kind


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"write_key": "a:b"}, "setting 'write_key': must not have a colon, which ends the user name of Basic"),
        ({"base_url": "ftp://x"}, "setting 'base_url': must be a URL such as https://api.segment.io"),
        ({"base_url": "https://x.io?a=1"}, "setting 'base_url': must not have a query or a fragment"),
        ({"base_url": "https://u:p@x.io"}, "setting 'base_url': must not hold a user or password"),
        ({"base_url": "https://x.io:99999"}, "setting 'base_url': must be a URL such as"),
        ({"base_url": "https://[x"}, "setting 'base_url': must be a URL such as"),
        ({"base": "https://x.io"}, "unknown setting 'base'; did you mean 'base_url'?"),
    ],
)
def test_problems_of_settings_are_named(settings: dict[str, Any], problem: str) -> None:
    ((_, found),) = registry.settings_problems("segment", {"write_key": "k", **settings})
    assert found.startswith(problem)
