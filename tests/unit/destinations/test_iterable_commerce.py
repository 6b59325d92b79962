from __future__ import annotations

from typing import Any

import pytest

from engage_sync.destinations.protocol import Request
from tests.unit.destinations.calls import CREATED_AT, body, call, order, product, refused, sent

ITEM = {"id": "p1", "name": "Tea", "price": 4.5, "quantity": 2}
CARTS = ["Product Added", "Product Removed", "Added Product", "Removed Product", "Cart Updated"]


@pytest.mark.parametrize("event", [*CARTS, "product_added", "PRODUCT REMOVED", "added_product", "cart updated"])
def test_cart_event_with_products_replaces_the_cart(event: str) -> None:
    message = call("track", event=event, properties={"products": [product()], "email": "a@x.io"})
    assert sent(message) == Request(
        method="POST",
        path="/api/commerce/updateCart",
        budget="commerce",
        body={"user": {"email": "a@x.io", "userId": "u1"}, "items": [ITEM]},
    )


def test_empty_cart_is_a_cart() -> None:
    assert body(call("track", event="Cart Updated", properties={"products": []}))["items"] == []


@pytest.mark.parametrize("event", CARTS)
@pytest.mark.parametrize("properties", [{}, {"product_id": "p1"}, {"products": None}, {"products": {"a": 1}}])
def test_cart_event_without_products_is_a_custom_event(event: str, properties: dict[str, Any]) -> None:
    request = sent(call("track", event=event, properties=properties))
    assert (request.path, request.body["eventName"]) == ("/api/events/track", event)


@pytest.mark.parametrize("event", ["Order Completed", "Completed Order", "order_completed", "ORDER COMPLETED"])
def test_order_completed_is_a_purchase(event: str) -> None:
    message = order(total="12.50", coupon="X", campaignId="7", templateId=8, placed="2026-03-01")
    message["event"] = event
    assert sent(message) == Request(
        method="POST",
        path="/api/commerce/trackPurchase",
        budget="commerce",
        body={
            "id": "o1",
            "user": {"userId": "u1", "preferUserId": True},
            "items": [ITEM],
            "total": 12.5,
            "createdAt": CREATED_AT,
            "dataFields": {"order_id": "o1", "coupon": "X", "placed": "2026-03-01 00:00:00 +00:00"},
            "campaignId": 7,
            "templateId": 8,
        },
    )


@pytest.mark.parametrize(("given", "identifier"), [(17, "17"), (17.0, "17"), (None, "m1"), ("", "m1")])
def test_purchase_is_known_by_its_order_or_its_message(given: Any, identifier: str) -> None:
    assert body(order(total=1, order_id=given))["id"] == identifier


@pytest.mark.parametrize("products", [None, "absent"])
def test_purchase_without_products_has_no_items(products: Any) -> None:
    message = order(total=1)
    message["properties"]["products"] = None
    if products == "absent":
        del message["properties"]["products"]
    assert body(message)["items"] == []


@pytest.mark.parametrize(
    ("given", "total"), [(5, 5), (5.25, 5.25), ("5", 5), (" 5.25 ", 5.25), ("-1e2", -100.0), (0, 0)]
)
def test_total_is_a_number_or_reads_as_one(given: Any, total: float) -> None:
    assert body(order(total=given))["total"] == total


@pytest.mark.parametrize(
    "total", [None, "", "free", "1,000", "1_000", "nan", "inf", "1e999", "12 EUR", True, [1], float("inf")]
)
def test_purchase_without_a_total_is_refused(total: Any) -> None:
    assert refused(order(total=total)).field == "properties.total"
    assert refused(order()).field == "properties.total"


def test_campaign_beyond_32_bits_does_not_go_with_a_purchase() -> None:
    assert "campaignId" not in body(order(total=1, campaignId=2**31))


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ({"product_id": None, "productId": "p2"}, {"id": "p2"}),
        ({"product_id": None, "id": "p3"}, {"id": "p3"}),
        ({"product_id": 12, "id": "row"}, {"id": "12", "dataFields": {"id": "row"}}),
        ({"price": "4.50"}, {"price": 4.5}),
        ({"quantity": "3"}, {"quantity": 3}),
        ({"quantity": 3.0}, {"quantity": 3}),
        ({"quantity": None}, {"quantity": 1}),
        ({"name": 1984}, {"name": "1984"}),
        ({"sku": "s", "description": "d", "url": "/p"}, {"sku": "s", "description": "d", "url": "/p"}),
        ({"sku": 5}, {"sku": "5"}),
        ({"sku": {"a": 1}}, {"dataFields": {"sku": {"a": 1}}}),
        ({"imageUrl": "/i"}, {"imageUrl": "/i"}),
        ({"image_url": "/i"}, {"imageUrl": "/i"}),
        ({"imageUrl": "/i", "image_url": "/j"}, {"imageUrl": "/i", "dataFields": {"image_url": "/j"}}),
        ({"category": "Tea"}, {"categories": ["Tea"]}),
        ({"categories": ["Tea", "Hot"]}, {"categories": ["Tea", "Hot"]}),
        ({"categories": []}, {"categories": []}),
        (
            {"categories": [{"a": 1}], "category": "Tea"},
            {"categories": ["Tea"], "dataFields": {"categories": [{"a": 1}]}},
        ),
        (
            {"brand": "B", "since": "2026-03-01T01:02:03Z", "coupon": None, "weight": "12"},
            {},
        ),
    ],
)
def test_items(overrides: dict[str, Any], expected: dict[str, Any]) -> None:
    given = product(**overrides)
    if "brand" in overrides:
        expected = {"dataFields": {"brand": "B", "since": "2026-03-01 01:02:03 +00:00", "weight": "12"}}
    assert body(order([given], total=1))["items"] == [{**ITEM, **expected}]


@pytest.mark.parametrize(
    ("broken", "field"),
    [
        (product(product_id=None), "properties.products[1].product_id"),
        (product(product_id=""), "properties.products[1].product_id"),
        (product(name=None), "properties.products[1].name"),
        (product(price=None), "properties.products[1].price"),
        (product(price="cheap"), "properties.products[1].price"),
        (product(price=True), "properties.products[1].price"),
        (product(quantity="some"), "properties.products[1].quantity"),
        (product(quantity=1.5), "properties.products[1].quantity"),
        ("Tea", "properties.products[1]"),
    ],
)
@pytest.mark.parametrize("event", ["Order Completed", "Product Added"])
def test_item_that_iterable_would_not_take_is_named(event: str, broken: Any, field: str) -> None:
    message = order([product(), broken], total=1)
    message["event"] = event
    found = refused(message)
    assert found.field == field
    assert "properties.products[1]" in found.reason


def test_products_of_a_purchase_must_be_an_array() -> None:
    assert refused(order({"a": 1}, total=1)).field == "properties.products"
