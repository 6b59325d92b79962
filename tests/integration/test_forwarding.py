"""Source calls reach destinations: from the inbox over the outbox to the sandbox, in the order of each person."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine

from engage_sync import reports
from engage_sync.delivery.deliverer import Deliverer
from engage_sync.destinations.iterable import webhooks
from engage_sync.outbox import dead_letters
from engage_sync.outbox.dead_letters import Chosen
from engage_sync.sandbox.options import Options
from engage_sync.sandbox.server import SandboxServer
from engage_sync.settings import Settings
from engage_sync.sync import replaying
from tests.factories.shop import Shop, identify, products, track
from tests.world import BOTH, audience

BOUGHT = "event('Order Completed').count() >= 1"


@pytest.fixture
def sandbox() -> Iterator[SandboxServer]:
    with SandboxServer(Options(strict_dates=True)) as made:
        yield made


@pytest.fixture
def shop(engine: Engine, database_url: str, sandbox: SandboxServer) -> Shop:
    return Shop(engine, database_url, sandbox)


def order(user: str | None = "u1", **more: Any) -> dict[str, Any]:
    properties = {"order_id": "o1", "total": 10, "products": products("tea", "cup")}
    return track("Order Completed", user, **{"properties": properties, **more})


def test_a_person_is_made_before_the_audience_that_they_enter_is_told(shop: Shop) -> None:
    shop.apply(audience("bought", BOUGHT, destinations=BOTH))
    report = shop.process(identify("u1", "a@x.io", plan="gold"), order(email="a@x.io"))
    assert shop.said() == [
        ("update", ("a@x.io", {"plan": "gold"})),
        ("trackPurchase", ("a@x.io", ["tea", "cup"])),
        ("update", ("a@x.io", {"bought": True})),
        ("track", ("a@x.io", "Audience Entered")),
    ]
    assert (report.delivered, report.failed) == (4, 0)
    assert report.by_key["bought"].delivered == 2
    assert list(report.by_key) == ["bought"]


def test_calls_with_a_user_id_and_messages_with_the_email_are_one_person_s_in_one_order(shop: Shop) -> None:
    shop.apply(audience("bought", BOUGHT))
    shop.process(identify("u1", "a@x.io"))
    shop.send(track("Cart Viewed", "u1"), order(), track("Receipt Viewed", "u1"))
    shop.resolve()
    shop.compute()
    assert shop.rows("SELECT count(DISTINCT profile_id) FROM messages") == [(1,)]
    shop.deliver()
    assert shop.said()[1:] == [
        ("track", ("u1", "Cart Viewed")),
        ("trackPurchase", ("u1", ["tea", "cup"])),
        ("track", ("u1", "Receipt Viewed")),
        ("update", ("a@x.io", {"bought": True})),
    ]


def test_only_connected_sources_are_forwarded(shop: Shop) -> None:
    shop.send(identify("u1", "a@x.io"), source="app")
    shop.resolve()
    assert shop.waiting() == []


def test_a_call_is_forwarded_once_whoever_sends_it_again(shop: Shop) -> None:
    again = {**track("Seen", "u1"), "messageId": "m1"}
    shop.process(identify("u1", "a@x.io"), again, again)
    shop.send(again)
    assert shop.resolve().duplicates == 1
    assert shop.waiting() == []
    assert [said for said in shop.said() if said[0] == "track"] == [("track", ("u1", "Seen"))]


def test_the_same_message_id_of_two_sources_makes_two_messages(shop: Shop, sandbox: SandboxServer) -> None:
    shop.context.routes.sources[shop.sources["app"]] = [1]  # type: ignore[index]
    call = {**track("Seen", "u1"), "messageId": "m1"}
    shop.send(identify("u1", "a@x.io"), call)
    shop.send(call, source="app")
    shop.resolve()
    shop.deliver()
    first, second = (event["id"] for event in sandbox.events())
    assert first != second
    assert first.startswith("forwarded_")


@pytest.mark.parametrize(
    ("integrations", "is_sent"),
    [
        ({}, True),
        ({"All": True}, True),
        ({"All": False}, False),
        ({"all": False}, False),
        ({"Iterable": False}, False),
        ({"iterable": False}, False),
        ({"ITERABLE": False, "All": True}, False),
        ({"All": False, "Iterable": True}, True),
        ({"All": False, "Iterable": {"mergeNestedObjects": True}}, True),
        ({"All": False, "Amplitude": True}, False),
        ({"Amplitude": False}, True),
        ({"All": False, "Iterable": None}, False),
    ],
)
def test_integrations_of_a_call_are_respected(shop: Shop, integrations: dict[str, Any], is_sent: bool) -> None:
    report = shop.process({**identify("u1", "a@x.io"), "integrations": integrations})
    assert (report.delivered, report.skipped, report.failed) == ((1, 0, 0) if is_sent else (0, 1, 0))


def test_what_iterable_told_makes_members_and_is_not_told_to_it_again(shop: Shop) -> None:
    shop.apply(audience("opened", "event('Email Opened').exists()"))
    opened = webhooks.read({"email": "a@x.io", "eventName": "emailOpen", "dataFields": {"campaignId": 5}})
    # Even where its source is connected, which `check` refuses.
    report = shop.process(opened.call)
    assert shop.said() == [("update", ("a@x.io", {"opened": True}))]
    assert (report.delivered, report.skipped, report.failed) == (1, 1, 0)


def test_options_for_the_destination_reach_it(shop: Shop, sandbox: SandboxServer) -> None:
    wish = {"All": False, "iterable": {"mergeNestedObjects": True}}
    shop.process({**identify("u1", "a@x.io", address={"city": "Oslo"}), "integrations": wish})
    assert sandbox.requests()[0]["body"]["mergeNestedObjects"] is True


def test_what_the_destination_has_no_use_for_is_skipped(shop: Shop) -> None:
    report = shop.process({"type": "group", "userId": "u1", "groupId": "g1"}, {"type": "page", "userId": "u1"})
    assert (report.delivered, report.skipped, report.failed) == (0, 2, 0)
    assert shop.rows("SELECT count(*) FROM delivered") == [(0,)]


def test_anonymous_calls_are_kept_and_not_forwarded(shop: Shop) -> None:
    page = {"type": "page", "anonymousId": "a1", "name": "Home"}
    nobody = {"type": "track", "event": "Seen", "anonymousId": "a1", "userId": "undefined"}
    shop.send(page, nobody, identify("null", "null@null.com", x=1) | {"anonymousId": "a1"})
    assert shop.resolve().stored == 3
    assert shop.waiting() == []


def test_a_user_id_that_stands_for_nobody_stays_behind(shop: Shop, sandbox: SandboxServer) -> None:
    shop.process(identify("undefined", "a@x.io"))
    assert "userId" not in sandbox.requests()[0]["body"]


def test_the_instant_is_that_of_the_call_by_the_server_s_clock(shop: Shop, sandbox: SandboxServer) -> None:
    shop.process(identify("u1", "a@x.io"))
    call = track("Seen", "u1", originalTimestamp="2001-01-01T00:00:00Z", sentAt="2001-01-01T00:01:00Z")
    shop.process(call)
    ((happened,),) = shop.rows("SELECT extract(epoch FROM received_at)::bigint - 60 FROM events")
    assert abs(sandbox.events()[0]["createdAt"] - happened) <= 1


def test_a_purchase_without_a_total_is_a_dead_letter_and_can_be_replayed(shop: Shop) -> None:
    shop.apply(audience("bought", BOUGHT))
    shop.process(identify("u1", "a@x.io"))
    report = shop.process(order(properties={"order_id": "o1", "products": []}))
    assert (report.delivered, report.failed) == (1, 1)
    assert shop.dead_letters() == [
        ("u1", "track", "Order Completed", "total is missing, or not a number (properties.total)")
    ]
    assert shop.said()[-1] == ("update", ("a@x.io", {"bought": True}))
    with shop.engine.begin() as connection:
        (letter,) = dead_letters.listing(connection, Chosen())
    assert (letter.key, letter.source, letter.request["call"]["event"]) == (None, "web", "Order Completed")
    replayed = replaying.replay(shop.engine, shop.context, Chosen())
    assert (replayed.waiting, replayed.obsolete) == (1, 0)
    assert shop.deliver().failed == 1
    with shop.engine.begin() as connection:
        assert dead_letters.discard(connection, Chosen()) == 1


def test_a_replayed_identify_leaves_out_what_was_said_anew_since(shop: Shop, sandbox: SandboxServer) -> None:
    sandbox.add_faults({"path": "*", "kind": "status", "status": 400, "times": 1})
    shop.process(identify("u1", "a@x.io", plan="gold", city="Oslo"))
    shop.process(identify("u1", "a@x.io", plan="silver"))
    replaying.replay(shop.engine, shop.context, Chosen())
    shop.deliver()
    assert shop.said()[-1] == ("update", ("a@x.io", {"city": "Oslo"}))


def test_a_profile_shows_what_was_forwarded_and_how_it_ended(shop: Shop) -> None:
    shop.process(identify("u1", "a@x.io"), order(properties={}))
    shop.send(track("Seen", "u1"))
    shop.resolve()
    with shop.engine.connect() as connection:
        shown = reports.profile(connection, "user_id:u1")["forwarded"]
    assert [(each["source"], each["call_type"], each["name"], each["status"]) for each in shown] == [
        ("web", "track", "Seen", "waiting"),
        ("web", "track", "Order Completed", "dead letter"),
        ("web", "identify", None, "delivered"),
    ]


def test_what_waits_moves_with_its_person_when_profiles_merge(shop: Shop) -> None:
    shop.send(track("Seen", email="a@x.io"), track("Seen Too", email="a@x.io"))
    shop.send(track("Tried", "u1"))
    shop.resolve()
    assert shop.rows("SELECT count(DISTINCT profile_id), count(*) FROM messages") == [(2, 3)]
    shop.send(identify("u1", "a@x.io"))
    shop.resolve()
    assert shop.rows("SELECT count(DISTINCT profile_id), count(*) FROM messages") == [(1, 4)]
    assert shop.rows("SELECT count(*) FROM lanes JOIN messages USING (profile_id)") == [(4,)]
    report = shop.deliver()
    # "Tried" came before Iterable knew u1: its answer is a refusal, and what follows goes on.
    assert (report.delivered, report.failed) == (3, 1)
    assert shop.said() == [
        ("track", ("a@x.io", "Seen")),
        ("track", ("a@x.io", "Seen Too")),
        ("track", ("u1", "Tried")),
        ("update", ("a@x.io", {})),
    ]


def test_a_batch_with_a_call_that_cannot_be_stored_forwards_the_others(shop: Shop) -> None:
    shop.send(identify("u1", "a@x.io"), track("null", "null"), track("Seen", "u1"))
    assert shop.resolve().rejected == 1
    assert [(identity, type_) for identity, type_, _ in shop.waiting()] == [("u1", "identify"), ("u1", "track")]


def test_after_a_restart_in_the_middle_everything_goes_once_and_in_order(shop: Shop, sandbox: SandboxServer) -> None:
    shop.send(identify("u1", "a@x.io"), *(track(f"Step {number}", "u1") for number in range(5)))
    shop.resolve()
    sandbox.add_faults({"path": "/api/events/track", "kind": "lost", "times": 1, "match": {"eventName": "Step 2"}})
    with pytest.raises(TimeoutError):
        _deliver_for(shop, 0.4)
    shop.deliver(request_timeout=1.0)
    events = sandbox.events()
    assert [event["eventName"] for event in events] == [f"Step {number}" for number in range(5)]
    assert shop.waiting() == []


def _deliver_for(shop: Shop, seconds: float) -> None:
    async def run() -> None:
        made = Deliverer(
            shop.engine, {"iterable": shop.destination}, Settings(request_timeout=1.0), direct_url=shop.url
        )
        async with asyncio.timeout(seconds):
            await made.run_until_empty()

    asyncio.run(run())
