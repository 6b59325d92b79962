"""What comes back from Iterable, as users see it: the sandbox's webhooks to `up`, audiences, and the way out again."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest

from tests.acceptance.test_commands import Shop, eventually, shop

__all__ = ["shop"]

ENGAGE = """
sources:
  web: {{write_key: "${{WEB_WRITE_KEY}}"}}
  iterable_events: {{type: iterable, secret: "${{ITERABLE_WEBHOOK_SECRET}}"}}
destinations:
  iterable:
    type: iterable
    settings: {{api_key: "${{ITERABLE_API_KEY}}", base_url: "{url}"}}
    connected_sources: [{connected}]
"""
SECRET = "hook-secret"
OPENED = "event('Email Opened').within(7 days).exists()"
SILENT = "event('Email Delivered').exists() AND NOT event('Email Opened').within(30 days).exists()"


@pytest.fixture
def hooked(shop: Shop) -> Shop:
    shop.environment["ITERABLE_WEBHOOK_SECRET"] = SECRET
    shop.write("engage.yml", ENGAGE.format(url=shop.sandbox.url, connected="web"))
    for key, query in (("opened_in_7_days", OPENED), ("silent", SILENT)):
        told = "compute_cadence: realtime\ndestinations: {iterable: {identify: true}}\n"
        shop.write(f"audiences/{key}.yml", f"name: {key}\nquery: {query}\n{told}")
    return shop


def tell(shop: Shop, email: str, *events: str, secret: str = SECRET, **more: Any) -> list[tuple[str, int]]:
    url = f"http://127.0.0.1:{shop.port}/webhooks/iterable/iterable_events"
    asked = {"url": url, "secret": secret, "email": email, "events": events, **more}
    sent = httpx.post(f"{shop.sandbox.url}/sandbox/webhooks", json=asked, timeout=30).json()["sent"]
    return [(each["eventName"], each["status"]) for each in sent]


def test_who_opened_an_email_is_told_to_iterable_and_what_iterable_told_is_not(hooked: Shop) -> None:
    hooked.run("apply", "--yes")
    daemon = hooked.up()
    try:
        month_ago = int(time.time()) - 35 * 86_400
        assert tell(hooked, "bob@x.io", "emailSend", "emailOpen", createdAt=month_ago) == [
            ("emailSend", 200), ("emailOpen", 200),
        ]  # fmt: skip
        assert tell(hooked, "ann@x.io", "emailSend", "emailOpen", times=2) == [
            ("emailSend", 200), ("emailSend", 200), ("emailOpen", 200), ("emailOpen", 200),
        ]  # fmt: skip
        assert tell(hooked, "eve@x.io", "emailOpen", secret="wrong") == [("emailOpen", 401)]
        assert eventually(lambda: hooked.fields("ann@x.io").get("opened_in_7_days") is True)
        assert eventually(lambda: hooked.fields("bob@x.io") == {"silent": True})
        assert hooked.json("members", "opened_in_7_days")["total"] == 1

        found = hooked.json("profile", "email:ann@x.io")
        assert sorted(event["event"] for event in found["events"]) == ["Email Delivered", "Email Opened"]

        # The source of web calls is connected; that of webhooks is not, and its events come nowhere near Iterable.
        httpx.post(
            f"http://127.0.0.1:{hooked.port}/v1/track", auth=("web-key", ""),
            json={"event": "Seen", "userId": "u1", "context": {"traits": {"email": "ann@x.io"}}},
        )  # fmt: skip
        assert eventually(lambda: [event["eventName"] for event in hooked.sandbox.events()] == ["Seen"])
        paths = {request["path"] for request in hooked.sandbox.requests()}
        assert paths <= {"/api/users/update", "/api/users/bulkUpdate", "/api/events/track"}
    finally:
        daemon.kill()
        daemon.wait()


def test_check_refuses_to_send_iterable_its_own_events(hooked: Shop) -> None:
    assert hooked.json("check")["warnings"] == []
    hooked.write("engage.yml", ENGAGE.format(url=hooked.sandbox.url, connected="web, iterable_events"))
    refused = hooked.run("check", code=2).stderr
    assert "engage.yml:9:30: what Iterable tells never goes back to it; take 'iterable_events' out" in refused
    del hooked.environment["ITERABLE_WEBHOOK_SECRET"]
    assert "ITERABLE_WEBHOOK_SECRET is not in the environment" in hooked.run("check", code=2).stderr
