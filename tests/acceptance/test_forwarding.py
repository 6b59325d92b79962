"""Source calls through `up` to the sandbox, as a shop and its operator see them."""

from __future__ import annotations

import signal
import time
from typing import Any

import pytest
import segment.analytics as analytics

from tests.acceptance.test_commands import Shop, eventually, identify, shop

__all__ = ["shop"]

OPEN_CART = "event('Product Added').count() >= 1 AND event('Order Completed').count() = 0"
PRODUCTS = [{"product_id": "p1", "name": "Tea", "price": 4.5, "quantity": 2}]


def connect(shop: Shop, *, limits: str = "", **settings: str) -> None:
    """The destination gets the calls of `web`, and these settings."""
    more = "".join(f", {name}: {value}" for name, value in settings.items())
    shop.write(
        "engage.yml",
        'space: {slug: shop}\nsources:\n  web: {write_key: "${WEB_WRITE_KEY}"}\n'
        "destinations:\n  iterable:\n    type: iterable\n"
        f'    settings: {{api_key: "${{ITERABLE_API_KEY}}", base_url: "{shop.sandbox.url}"{more}}}\n'
        f"    connected_sources: [web]\n{limits}",
    )


def requests(shop: Shop) -> list[tuple[str, Any]]:
    found = []
    for request in shop.sandbox.requests():
        body = request["body"]
        says = body.get("eventName") or body.get("total") or body.get("dataFields", {}).get("open_cart")
        found.append((request["path"].rpartition("/")[2], says))
    return found


def test_from_the_cart_to_the_purchase_a_person_hears_everything_once_and_in_order(shop: Shop) -> None:
    connect(shop)
    shop.audience("open_cart", OPEN_CART, "{identify: true, track: true}")
    shop.run("apply", "--yes")
    daemon = shop.up()
    try:
        client = analytics.Client("web-key", host=f"http://127.0.0.1:{shop.port}", gzip=True, sync_mode=True)
        client.identify("u1", {"email": "a@x.io", "plan": "gold"})
        client.track("u1", "Product Added", {"products": PRODUCTS}, {"traits": {"email": "a@x.io"}})
        assert eventually(lambda: len(requests(shop)) == 4), requests(shop)
        client.track("u1", "Order Completed", {"order_id": "o1", "total": 9.0, "products": PRODUCTS})
        assert eventually(lambda: len(requests(shop)) == 7), requests(shop)
        time.sleep(1.5)  # and no more
        assert requests(shop) == [
            ("update", None),
            ("updateCart", None),
            ("update", True),
            ("track", "Audience Entered"),
            ("trackPurchase", 9.0),
            ("update", False),
            ("track", "Audience Exited"),
        ]
        assert shop.fields("a@x.io") == {"plan": "gold", "open_cart": False}
        purchase = shop.sandbox.events()[1]
        assert (purchase["id"], purchase["email"], purchase["items"][0]["id"]) == ("o1", "a@x.io", "p1")
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(20) == 0
    finally:
        daemon.kill()
        daemon.wait()
    shown = shop.json("profile", "user_id:u1")["forwarded"]
    assert [(each["name"], each["status"]) for each in shown] == [
        ("Order Completed", "delivered"),
        ("Product Added", "delivered"),
        (None, "delivered"),
    ]
    assert "Order Completed" in shop.run("profile", "user_id:u1").stdout


def test_imported_history_is_not_forwarded(shop: Shop) -> None:
    connect(shop)
    shop.run("apply", "--yes")
    assert shop.json("import", shop.calls(*identify("u1", "a@x.io")))["stored"] == 1
    assert shop.json("deliver", "--until-empty")["sent"] == 0
    assert shop.sandbox.users() == []


def test_connected_sources_are_no_warning(shop: Shop) -> None:
    connect(shop)
    assert shop.run("check").stderr == ""


@pytest.mark.parametrize("limits", ["", "limits: {email: 2}\n"])
def test_changing_emails_needs_one_email_a_person(shop: Shop, limits: str) -> None:
    connect(shop, email_change="update", limits=limits)
    said = shop.run("check", code=2).stderr
    assert said.startswith("engage.yml:7:")
    assert "limits: {email: 1}" in said
    connect(shop, email_change="update", limits="limits: {email: 1}\n")
    assert shop.run("check").stderr == ""


def test_an_email_that_an_import_changes_is_changed_there_too(shop: Shop) -> None:
    connect(shop, email_change="update", limits="limits: {email: 1}\n")
    shop.audience("known", "trait('email').exists()")
    shop.run("apply", "--yes")
    shop.run("import", shop.calls(*identify("u1", "a@x.io")))
    shop.run("sync")
    shop.run("import", shop.calls(*identify("u1", "b@x.io")))
    shop.run("sync")
    assert [request["path"].rpartition("/")[2] for request in shop.sandbox.requests()] == ["update", "updateEmail"]
    assert [user["email"] for user in shop.sandbox.users()] == ["b@x.io"]
