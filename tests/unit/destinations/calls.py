"""Segment calls and destinations as the tests need them, with overrides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from engage_sync.destinations import registry
from engage_sync.destinations.protocol import Destination, Refused, Request, Skipped

TIMESTAMP = "2026-03-01T10:20:30.999Z"
CREATED_AT = 1772360430


@dataclass(frozen=True, kw_only=True)
class Config:
    slug: str = "iterable"
    type: str = "iterable"
    settings: Mapping[str, Any] = field(default_factory=lambda: {"api_key": "k"})
    rate_limits: Mapping[str, float] = field(default_factory=dict)


def iterable(**settings: Any) -> Destination:
    return registry.build(Config(settings={"api_key": "k", **settings}))


def call(kind: str, **overrides: Any) -> dict[str, Any]:
    """A call of Ann's, whose userId is u1; a field overridden with None is left out."""
    fields = {"type": kind, "userId": "u1", "messageId": "m1", "timestamp": TIMESTAMP, **overrides}
    return {name: value for name, value in fields.items() if value is not None}


def order(products: Any = None, **properties: Any) -> dict[str, Any]:
    found = [product()] if products is None else products
    return call("track", event="Order Completed", properties={"order_id": "o1", "products": found, **properties})


def product(**overrides: Any) -> dict[str, Any]:
    fields = {"product_id": "p1", "name": "Tea", "price": 4.5, "quantity": 2, **overrides}
    return {name: value for name, value in fields.items() if value is not None}


def sent(called: Mapping[str, Any], **settings: Any) -> Request:
    """The one request that a call becomes."""
    requests = iterable(**settings).requests(called)
    assert isinstance(requests, tuple), requests
    (request,) = requests
    return request


def body(called: Mapping[str, Any], **settings: Any) -> dict[str, Any]:
    return sent(called, **settings).body


def refused(called: Mapping[str, Any], **settings: Any) -> Refused:
    result = iterable(**settings).requests(called)
    assert isinstance(result, Refused), result
    return result


def skipped(called: Mapping[str, Any], **settings: Any) -> Skipped:
    result = iterable(**settings).requests(called)
    assert isinstance(result, Skipped), result
    return result
