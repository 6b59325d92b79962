from __future__ import annotations

from typing import Any

import pytest

from engage_sync.destinations.protocol import Request
from tests.unit.destinations.calls import CREATED_AT, body, call, refused, sent, skipped

ANN = {"traits": {"email": "a@x.io"}}


def test_track_becomes_an_event_with_the_message_id() -> None:
    message = call("track", event="Song Played", properties={"title": "Go", "length": 61.5}, context=ANN)
    assert sent(message) == Request(
        method="POST",
        path="/api/events/track",
        budget="track",
        body={
            "email": "a@x.io",
            "userId": "u1",
            "eventName": "Song Played",
            "id": "m1",
            "createdAt": CREATED_AT,
            "dataFields": {"title": "Go", "length": 61.5},
        },
    )


def test_audience_message_is_an_ordinary_track() -> None:
    properties = {"audience_key": "big", "big": True}
    found = body(call("track", event="Audience Entered", properties=properties, context=ANN, userId=None))
    assert found == {
        "email": "a@x.io",
        "eventName": "Audience Entered",
        "id": "m1",
        "createdAt": CREATED_AT,
        "dataFields": properties,
    }


@pytest.mark.parametrize(
    ("overrides", "email"),
    [
        ({"context": ANN, "properties": {"email": "b@x.io"}}, "a@x.io"),
        ({"properties": {"email": "b@x.io"}}, "b@x.io"),
        ({"context": {"traits": {"email": ""}}, "properties": {"email": "b@x.io"}}, "b@x.io"),
        ({"userId": "c@x.io"}, "c@x.io"),
        ({"properties": {"customer_email": "b@x.io"}}, None),
        ({"properties": {"email": True}}, None),
        ({"properties": {"email": "b@x"}}, None),
        ({"traits": {"email": "b@x.io"}}, None),
    ],
)
@pytest.mark.parametrize("kind", ["track", "page", "screen"])
def test_email_comes_from_context_then_properties_then_the_user_id(
    kind: str, overrides: dict[str, Any], email: str | None
) -> None:
    found = body(call(kind, event="E", name="N", **overrides))
    assert found.get("email") == email
    assert "preferUserId" not in found


def test_event_of_nobody_is_refused() -> None:
    assert refused(call("track", event="E", userId=None, anonymousId="x")).field == "userId"


@pytest.mark.parametrize("event", [None, "", "  ", 5, {"a": 1}])
def test_event_without_a_name_is_refused(event: Any) -> None:
    assert refused(call("track", event=event)).field == "event"


@pytest.mark.parametrize(
    ("overrides", "field"),
    [
        ({"messageId": None}, "messageId"),
        ({"messageId": "m" * 513}, "messageId"),
        ({"timestamp": None}, "timestamp"),
        ({"timestamp": "soon"}, "timestamp"),
        ({"timestamp": "1969-12-31T23:59:59Z"}, "timestamp"),
        ({"timestamp": "2200-01-01T00:00:00Z"}, "timestamp"),
        ({"timestamp": 1700000000}, "timestamp"),
        ({"properties": [1]}, "properties"),
        ({"context": {"traits": {"email": "nobody"}}}, "context.traits.email"),
        ({"userId": "u" * 53}, "userId"),
    ],
)
def test_event_that_iterable_would_not_take_is_refused_by_field(overrides: dict[str, Any], field: str) -> None:
    assert refused(call("track", event="E", **overrides)).field == field


@pytest.mark.parametrize(
    ("timestamp", "seconds"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2026-03-01T10:20:30.999Z", CREATED_AT),
        ("2026-03-01T10:20:30.1234567Z", CREATED_AT),
        ("2026-03-01T10:20:30", CREATED_AT),
        ("2026-03-01T12:20:30+02:00", CREATED_AT),
    ],
)
def test_created_at_is_whole_seconds(timestamp: str, seconds: int) -> None:
    found = body(call("track", event="E", timestamp=timestamp))["createdAt"]
    assert (found, type(found)) == (seconds, int)


@pytest.mark.parametrize(
    ("given", "campaign_id"), [(7, 7), ("7", 7), (7.0, 7), ("summer", None), (7.5, None), (None, None), (True, None)]
)
def test_campaign_and_template_are_integers_where_given(given: Any, campaign_id: int | None) -> None:
    found = body(call("track", event="E", properties={"campaignId": given, "templateId": given}))
    assert found.get("campaignId") == campaign_id
    assert found.get("templateId") == campaign_id
    assert found["dataFields"] == {"campaignId": given, "templateId": given}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("2023-02-05T20:42:10.999Z", "2023-02-05 20:42:10 +00:00"),
        ("2023-02-05T20:42:10Z", "2023-02-05 20:42:10 +00:00"),
        ("2023-02-05T20:42Z", "2023-02-05 20:42:00 +00:00"),
        ("2023-02-05T20:42:10", "2023-02-05 20:42:10 +00:00"),
        ("2023-02-05 20:42:10", "2023-02-05 20:42:10 +00:00"),
        ("2023-02-05T20:42:10+02:00", "2023-02-05 18:42:10 +00:00"),
        ("2023-02-05T20:42:10-0530", "2023-02-06 02:12:10 +00:00"),
        ("2023-02-05T20:42:10+05", "2023-02-05 15:42:10 +00:00"),
        ("2023-02-05T20:42:10,5Z", "2023-02-05 20:42:10 +00:00"),
        ("2023-02-05T20:42:10.123456789Z", "2023-02-05 20:42:10 +00:00"),
        ("2023-02-05", "2023-02-05 00:00:00 +00:00"),
        ("2024-02-29", "2024-02-29 00:00:00 +00:00"),
        ("0999-01-01", "0999-01-01 00:00:00 +00:00"),
    ],
)
def test_dates_are_converted_at_every_depth(given: str, expected: str) -> None:
    def nested(value: str) -> dict[str, Any]:
        return {"d": value, "list": [value, {"d": value}, [value]], "object": {"d": {"d": value}}}

    assert body(call("track", event="E", properties=nested(given)))["dataFields"] == nested(expected)
    assert body(call("identify", traits=nested(given)))["dataFields"] == nested(expected)


@pytest.mark.parametrize(
    "text",
    [
        "2023",
        "2023-02",
        "20230205",
        "20230205T204210Z",
        "1234-12-00",
        "2023-02-31",
        "2023-02-29",
        "2023-13-01",
        "2023-02-05T25:00:00Z",
        "2023-02-05T24:00:00Z",
        "2023-02-05T20:60:00Z",
        "2023-02-05T20:42:60Z",
        "2023-02-05T20",
        "2023-02-05T20:42:10+99:00",
        "2023-02-05T",
        "2023-02-05x",
        "2023-02-05\n",
        " 2023-02-05",
        "2023-W05-1",
        "2023-02-05 20:42:10 +00:00",
        "0000-01-01",
        "0001-01-01T00:00:00+05:00",
        "9999-12-31T23:59:59-05:00",
        "٢٠٢٣-٠٢-٠٥",
        "2023-02-05 and later",
        "",
    ],
)
def test_what_is_not_a_date_is_left_alone(text: str) -> None:
    assert body(call("track", event="E", properties={"d": text}))["dataFields"] == {"d": text}


PAGE_SETTINGS = (
    "track_all_pages",
    "track_categorized_pages",
    "track_named_pages",
    "map_all_pages_to_single_event_name",
)


@pytest.mark.parametrize(
    ("all_pages", "categorized", "named", "mapped", "name", "category", "event"),
    [
        # Segment's defaults, and each reason to be sent by itself.
        (False, True, True, True, "Cart", None, "Loaded a {Kind}"),
        (False, True, True, True, None, "Shop", "Loaded a {Kind}"),
        (False, True, True, True, None, None, None),
        (False, False, True, True, None, "Shop", None),
        (False, True, False, True, "Cart", None, None),
        (False, False, False, True, "Cart", "Shop", None),
        (True, False, False, True, None, None, "Loaded a {Kind}"),
        # Names of their own.
        (False, True, True, False, "shoppingCart", None, "shoppingCart {kind}"),
        (False, True, True, False, "Cart", "Shop", "Cart {kind}"),
        (False, True, True, False, None, "Shop", "Shop {kind}"),
        (False, True, False, False, "Cart", "Shop", "Cart {kind}"),
        (False, False, True, False, None, "Shop", None),
        (True, False, False, False, None, None, "Loaded a {Kind}"),
        (True, False, False, False, "Cart", None, "Cart {kind}"),
        (True, True, True, False, "", " ", "Loaded a {Kind}"),
    ],
)
@pytest.mark.parametrize("kind", ["page", "screen"])
def test_pages_and_screens(
    kind: str,
    all_pages: bool,
    categorized: bool,
    named: bool,
    mapped: bool,
    name: str | None,
    category: str | None,
    event: str | None,
) -> None:
    settings = dict(zip(PAGE_SETTINGS, (all_pages, categorized, named, mapped), strict=True))
    message = call(kind, name=name, category=category, properties={"url": "/cart"}, context=ANN)
    if event is None:
        assert kind in skipped(message, **settings).reason
        return
    fields = {"url": "/cart", "name": name, "category": category}
    assert body(message, **settings) == {
        "email": "a@x.io",
        "userId": "u1",
        "eventName": event.format(kind=kind, Kind=kind.title()),
        "id": "m1",
        "createdAt": CREATED_AT,
        "dataFields": {key: value for key, value in fields.items() if value and value.strip()},
    }


def test_page_may_carry_its_name_in_the_properties() -> None:
    message = call("page", properties={"name": "Cart", "category": "Shop"})
    assert body(message, map_all_pages_to_single_event_name=False)["eventName"] == "Cart page"


def test_page_without_interest_is_skipped_even_if_nobody_is_known() -> None:
    assert "neither name nor category" in skipped(call("page", userId=None)).reason
