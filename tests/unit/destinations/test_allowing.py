"""Staging: which calls may leave."""

from __future__ import annotations

from typing import Any

import pytest

from engage_sync.destinations.allowing import EVERYBODY, Allowed

ALLOWED = Allowed(["Example.com"])


@pytest.mark.parametrize(
    "call",
    [
        {"userId": "u1", "traits": {"email": "me@example.com"}},
        {"userId": "u1", "context": {"traits": {"email": "Me@EXAMPLE.com "}}},
        {"userId": "me@example.com"},
        {"previousId": "old@example.com", "userId": "new@example.com"},
    ],
)
def test_emails_of_the_domain_may_leave(call: dict[str, Any]) -> None:
    assert ALLOWED.objection(call) is None


@pytest.mark.parametrize(
    "call",
    [
        {"userId": "u1"},
        {"userId": "u1", "traits": None, "context": [], "properties": 5},
        {"traits": {"email": "you@x.io"}},
        {"traits": {"email": "you@sub.example.com"}},
        {"traits": {"email": "you@example.com.evil.io"}},
        {"traits": {"email": "me@example.com"}, "context": {"traits": {"email": "you@x.io"}}},
        {"userId": "me@example.com", "properties": {"email": "you@x.io"}},
        {"previousId": "you@x.io", "userId": "new@example.com"},
    ],
)
def test_anybody_else_may_not(call: dict[str, Any]) -> None:
    assert ALLOWED.objection(call) == "only emails of example.com are let through (allow)"
    assert EVERYBODY.objection(call) is None


def test_without_a_domain_nobody_may() -> None:
    assert Allowed([]).objection({"traits": {"email": "me@example.com"}}) is not None
