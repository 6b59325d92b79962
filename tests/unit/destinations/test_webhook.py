"""Signed POSTs."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import pytest

from engage_sync.destinations import registry
from engage_sync.destinations.protocol import Destination, Refused, Request, Skipped
from tests.unit.destinations.calls import Config, call

SECRET = "sixteen letters or more"


def webhook(url: str = "https://hooks.shop.io/engage?v=1", **settings: Any) -> Destination:
    return registry.build(Config(slug="hook", type="webhook", settings={"url": url, "secret": SECRET, **settings}))


@pytest.mark.parametrize(
    ("url", "base", "path"),
    [
        ("https://hooks.shop.io/engage?v=1", "https://hooks.shop.io", "/engage?v=1"),
        ("http://127.0.0.1:9000", "http://127.0.0.1:9000", "/"),
        ("http://127.0.0.1:9000/a/", "http://127.0.0.1:9000", "/a/"),
        ("http://[::1]:9000?x", "http://[::1]:9000", "/?x"),
    ],
)
def test_call_is_posted_as_it_is_to_the_url(url: str, base: str, path: str) -> None:
    given = call("track", event="E", properties={"a.b": [1, None]})
    found = webhook(url)
    assert found.base_url == base
    assert found.requests(given) == (Request(method="POST", path=path, body=given, budget="track"),)


def test_signature_can_be_made_anew_by_the_receiver() -> None:
    (header,) = webhook().signature(b'{"a":1}', 1_772_360_430).items()
    expected = hmac.new(SECRET.encode(), b'1772360430.{"a":1}', hashlib.sha256).hexdigest()
    assert header == ("Engage-Signature", f"t=1772360430,v1={expected}")


@pytest.mark.parametrize(
    ("integrations", "left_out"),
    [
        ({}, False),
        ({"All": False}, True),
        ({"All": False, "Webhooks": True}, False),
        ({"Webhooks": False}, True),
        ({"All": False, "Iterable": True}, True),
    ],
)
def test_integrations_may_leave_webhooks_out(integrations: dict[str, Any], left_out: bool) -> None:
    found = webhook().requests(call("identify", integrations=integrations))
    assert isinstance(found, Skipped) is left_out


def test_email_is_enough_to_be_somebody() -> None:
    assert isinstance(webhook().requests(call("identify", userId=None, traits={"email": "a@x.io"})), tuple)
    assert isinstance(webhook().requests(call("identify", userId=None, traits={"plan": "gold"})), Refused)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"secret": "short"}, "setting 'secret': must have at least 16 characters"),
        ({"url": "hooks.shop.io"}, "setting 'url': must be a URL such as https://hooks.example.com/engage"),
        ({"url": "https://x.io/a b"}, "setting 'url': must be a URL such as"),
        ({"url": "https://x.io/#a"}, "setting 'url': must not have a query or a fragment"),
        ({"url": "https://u:p@x.io/"}, "setting 'url': must not hold a user or password, as URLs are shown and logged"),
        ({"uri": "x"}, "unknown setting 'uri'; did you mean 'url'?"),
    ],
)
def test_problems_of_settings_are_named(settings: dict[str, Any], problem: str) -> None:
    ((_, found),) = registry.settings_problems("webhook", {"url": "https://x.io", "secret": SECRET, **settings})
    assert found.startswith(problem)
