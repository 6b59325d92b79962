"""Iterable's system webhooks → Segment's track calls: every kind of event, and every mistake."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest

from engage_sync import errors
from engage_sync.destinations import registry
from engage_sync.destinations.iterable import webhooks
from engage_sync.destinations.protocol import Skipped
from engage_sync.ingest import accept
from engage_sync.profiles import identifiers

EMAIL = "ann@example.com"
CAMPAIGN = {"campaignId": 59667, "campaignName": "Spring", "templateId": 93849, "workflowId": None, "channelId": 3420}
EMAILED = {
    **CAMPAIGN, "messageId": "d0aa", "emailSubject": "My subject", "emailId": "c59667:t93849:ann@example.com",
}  # fmt: skip
SPRING = {"campaign_id": "59667", "campaign_name": "Spring"}
SPRING_EMAIL = {**SPRING, "email_id": "c59667:t93849:ann@example.com", "email_subject": "My subject"}
AGENT = "Mozilla/5.0 (via ggpht.com GoogleImageProxy)"
SEEN = {"ip": "66.249.84.204", "userAgent": AGENT}
SKIP = {"reason": "DuplicateMarketingMessage", "campaignId": 721398, "messageId": "9843"}
PUSH = {**CAMPAIGN, "pushMessage": "Hello", "payload": {"path": "shop_home"}, "badge": None}
LISTS = {"emailListIds": [1589748], "channelIds": [], "messageTypeIds": []}

# (Iterable's name, its data fields, Segment's name, the properties that Segment's spec adds)
SAMPLES: list[tuple[str, dict[str, Any], str, dict[str, Any]]] = [
    ("emailSend", {**EMAILED, "transactionalData": {"a": 1}}, "Email Delivered", SPRING_EMAIL),
    ("emailSendSkip", SKIP, "Email Send Skip", {"campaign_id": "721398"}),
    ("emailOpen", {**EMAILED, **SEEN, "proxySource": "Gmail", "device": "Gmail"}, "Email Opened", SPRING_EMAIL),
    (
        "emailClick",
        {**EMAILED, **SEEN, "url": "https://x.io/?a=1", "linkUrl": "https://x.io", "linkId": "3145", "city": "Bern"},
        "Email Link Clicked",
        {**SPRING_EMAIL, "link_id": "3145", "link_url": "https://x.io"},
    ),
    ("emailBounce", {**EMAILED, "recipientState": "HardBounce"}, "Email Bounced", SPRING_EMAIL),
    ("emailComplaint", {**EMAILED, "recipientState": "Complaint"}, "Email Marked as Spam", SPRING_EMAIL),
    ("emailSubscribe", {**LISTS, "signupSource": "WebForm"}, "Subscribed", {"list_id": "1589748"}),
    (
        "emailUnSubscribe",
        {**EMAILED, "emailListIds": [], "channelIds": [27447], "unsubSource": "EmailLink"},
        "Unsubscribed",
        SPRING_EMAIL,
    ),
    ("emailUnsubscribe", {"emailListIds": [7, 8]}, "Unsubscribed", {}),
    ("hostedUnsubscribeClick", {**EMAILED, **SEEN, "country": "Italy"}, "Hosted Unsubscribe Click", SPRING_EMAIL),
    ("pushSend", {**PUSH, "messageId": "73f2"}, "Push Delivered", SPRING),
    ("pushSendSkip", SKIP, "Push Send Skip", {"campaign_id": "721398"}),
    ("pushOpen", {**PUSH, "appAlreadyRunning": False}, "Push Opened", SPRING),
    ("pushBounce", {**PUSH, "platformEndpoint": "<endpoint>"}, "Push Bounced", SPRING),
    ("pushUninstall", {**PUSH, "isGhostPush": False}, "Mobile App Uninstalled", SPRING),
    ("smsSend", {**CAMPAIGN, "toPhoneNumber": "+16503926753", "smsMessage": "Hi"}, "SMS Delivered", SPRING),
    ("smsSendSkip", SKIP, "SMS Send Skip", {"campaign_id": "721398"}),
    ("smsBounce", {**CAMPAIGN, "smsProviderResponse": {"status": 404, "code": 20404}}, "SMS Bounced", SPRING),
    ("smsClick", {**CAMPAIGN, "clickedUrl": "https://x.io"}, "SMS Clicked", SPRING),
    ("smsReceived", {"fromPhoneNumber": "+16503926753", "smsMessage": "STOP"}, "SMS Received", {}),
    ("inAppSend", {**CAMPAIGN, "messageContext": {"trigger": "immediate"}}, "In App Sent", SPRING),
    ("inAppSendSkip", SKIP, "In App Send Skip", {"campaign_id": "721398"}),
    ("inAppDelivery", CAMPAIGN, "In App Delivered", SPRING),
    ("inAppOpen", {"campaignId": 269450}, "In App Opened", {"campaign_id": "269450"}),
    ("inAppClick", {"campaignId": 269450}, "In App Clicked", {"campaign_id": "269450"}),
    ("webPushSend", {**CAMPAIGN, "browserToken": "cZn_inq:APA91b", "webPushBody": None}, "Web Push Delivered", SPRING),
    ("webPushSendSkip", SKIP, "Web Push Send Skip", {"campaign_id": "721398"}),
    ("webPushClick", CAMPAIGN, "Web Push Clicked", SPRING),
]


def webhook(event: str = "emailOpen", **fields: Any) -> dict[str, Any]:
    created = {"email": EMAIL, "createdAt": "2016-12-02 18:51:45 +00:00"}
    return {"email": EMAIL, "eventName": event, "dataFields": {**created, **fields}}


def test_what_is_too_large_for_a_call_loses_its_largest_properties() -> None:
    content = {"html": "<p>" + "x" * 40_000}
    call = webhooks.read(webhook("inAppSend", **CAMPAIGN, inAppBody="y" * 50_000, content=content, note="z" * 900)).call
    assert len(accept.encode(call)) <= accept.MAX_CALL_BYTES
    assert call["properties"]["left_out"] == ["content", "inAppBody"]
    assert call["properties"]["note"] == "z" * 900
    assert SPRING.items() <= call["properties"].items()
    assert not call["properties"].keys() & {"content", "inAppBody"}


def test_thousands_of_properties_and_a_long_user_agent_fit_as_well() -> None:
    fields = {f"field_{number}": "x" * 20 for number in range(20_000)}
    call = webhooks.read(webhook("inAppSend", **CAMPAIGN, **fields, userAgent="u" * 50_000)).call
    assert len(accept.encode(call)) <= accept.MAX_CALL_BYTES
    assert len(call["properties"]["left_out"]) == 20
    assert "userAgent" not in call["context"]


@pytest.mark.parametrize(("event", "fields", "name", "added"), SAMPLES, ids=[sample[0] for sample in SAMPLES])
def test_each_event_has_segments_name_and_properties(
    event: str, fields: dict[str, Any], name: str, added: dict[str, Any]
) -> None:
    found = webhooks.read(webhook(event, **fields))
    call = found.call
    message_id = call.pop("messageId")
    assert re.fullmatch("iterable-[0-9a-f]{32}", message_id)
    seen = {"ip": SEEN["ip"], "userAgent": AGENT, "user_agent": AGENT} if "ip" in fields else {}
    assert call == {
        "type": "track",
        "event": name,
        "timestamp": "2016-12-02T18:51:45+00:00",
        "properties": {"createdAt": "2016-12-02 18:51:45 +00:00", **fields, **added},
        "context": {"integration": {"name": "Iterable"}, "traits": {"email": EMAIL}, **seen},
        "integrations": {"All": True, "Iterable": False},
    }
    assert found.is_known
    assert found.event in webhooks.EVENTS


def test_every_event_has_a_sample() -> None:
    assert {webhooks.read(webhook(sample[0])).event for sample in SAMPLES} == webhooks.EVENTS.keys()


@pytest.mark.parametrize(
    ("who", "expected"),
    [
        ({"email": "a@x.io"}, (("email", "a@x.io"),)),
        ({"email": " A@X.io "}, (("email", "a@x.io"),)),
        ({"dataFields": {"email": "b@x.io"}}, (("email", "b@x.io"),)),
        ({"email": "a@x.io", "dataFields": {"email": "b@x.io"}}, (("email", "a@x.io"),)),
        ({"email": None, "userId": "u1", "dataFields": None}, (("user_id", "u1"),)),
        ({"email": "", "userId": 17}, (("user_id", "17"),)),
        ({"email": "a@x.io", "userId": ""}, (("email", "a@x.io"),)),
        ({"email": "a@x.io", "userId": "u1"}, (("user_id", "u1"), ("email", "a@x.io"))),
        ({"userId": "u1", "dataFields": {"email": "b@x.io"}}, (("user_id", "u1"), ("email", "b@x.io"))),
        # Made up by Iterable for a user of whom it knows no more than the userId.
        ({"email": "8f3e@placeholder.email", "userId": "u1"}, (("user_id", "u1"),)),
        ({"email": "8f3e@placeholder.email"}, (("email", "8f3e@placeholder.email"),)),
    ],
)
def test_whose_event_it_is(who: dict[str, Any], expected: tuple[tuple[str, str], ...]) -> None:
    call = webhooks.read({"eventName": "emailOpen", **who}).call
    assert identifiers.of_call(call, {}) == expected
    assert "email" not in call["properties"]


def test_the_same_content_has_the_same_id_and_any_other_content_another() -> None:
    first = webhook("emailClick", linkId="1", campaignId=5)
    again = {"dataFields": dict(reversed(first["dataFields"].items())), "eventName": "emailClick", "email": EMAIL}
    others = [
        webhook("emailOpen", linkId="1", campaignId=5),
        webhook("emailClick", linkId="2", campaignId=5),
        webhook("emailClick", linkId="1", campaignId=5, createdAt="2016-12-02 18:51:46 +00:00"),
        {**first, "email": "bob@example.com"},
        {**first, "userId": "u1"},
    ]
    ids = [webhooks.read(each).call["messageId"] for each in (first, again, *others)]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 1 + len(others)


@pytest.mark.parametrize("name", ["embeddedClick", "journeyExit", "orderCompleted", "Email Opened", "Größe"])
def test_an_unknown_event_is_kept_raw_under_a_name_that_no_other_call_has(name: str) -> None:
    found = webhooks.read(webhook(name, embeddedMessageId="e1", nested={"a": [1]}))
    assert (found.event, found.is_known) == (name, False)
    assert found.call["event"] == f"Iterable {name}"
    assert found.call["properties"] == {
        "createdAt": "2016-12-02 18:51:45 +00:00", "embeddedMessageId": "e1", "nested": {"a": [1]},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given", "timestamp"),
    [
        ("2022-03-10 05:00:14 +00:00", "2022-03-10T05:00:14+00:00"),
        ("2022-03-10 05:00:14 +02:00", "2022-03-10T05:00:14+02:00"),
        ("2022-03-10T05:00:14.123Z", "2022-03-10T05:00:14.123Z"),
        (1_646_888_414, 1_646_888_414),
        ("yesterday", "yesterday"),  # the resolver takes the time of arrival, and counts it
    ],
)
def test_when_it_happened(given: Any, timestamp: Any) -> None:
    assert webhooks.read(webhook(createdAt=given)).call["timestamp"] == timestamp


def test_without_a_time_it_happened_when_it_arrived() -> None:
    assert "timestamp" not in webhooks.read({"email": EMAIL, "eventName": "inAppSendSkip"}).call


def test_what_is_no_text_does_not_become_a_property_of_the_spec() -> None:
    odd = {"emailSubject": ["a"], "campaignId": None, "linkId": True, "emailId": {"a": 1}, "campaign_name": "mine"}
    properties = webhooks.read(webhook(**odd, campaignName="theirs", emailListIds="7", ip=5, userAgent=[])).call
    assert set(properties["properties"]) == {*odd, "campaignName", "emailListIds", "ip", "userAgent", "createdAt"}
    assert properties["properties"]["campaign_name"] == "mine"
    assert properties["context"].keys() == {"integration", "traits"}


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (None, "body: expected a JSON object"),
        ([webhook()], "body: expected a JSON object"),
        ("emailOpen", "body: expected a JSON object"),
        ({}, "eventName: expected the name of an event"),
        ({"email": EMAIL, "eventTitle": "smsReceived"}, "eventName: expected the name of an event"),
        ({"email": EMAIL, "eventName": ["emailOpen"]}, "eventName: expected the name of an event"),
        ({"email": EMAIL, "eventName": " "}, "eventName: expected the name of an event"),
        ({"email": EMAIL, "eventName": "x" * 492}, "eventName: expected at most 491 characters, got 492"),
        ({"email": EMAIL, "eventName": "emailOpen", "dataFields": []}, "dataFields: expected an object"),
        ({"eventName": "emailOpen"}, "email: expected an email, or a userId"),
        ({"eventName": "emailOpen", "email": " ", "userId": " "}, "email: expected an email, or a userId"),
        ({"eventName": "emailOpen", "email": 5}, "email: expected a string"),
        ({"eventName": "emailOpen", "dataFields": {"email": {}}}, "dataFields.email: expected a string"),
        ({"eventName": "emailOpen", "userId": ["u1"]}, "userId: expected a string"),
    ],
)
def test_each_mistake_has_its_sentence(payload: Any, reason: str) -> None:
    with pytest.raises(errors.CallInvalid) as raised:
        webhooks.read(payload)
    assert str(raised.value).startswith(reason)
    assert EMAIL not in str(raised.value)


def test_the_longest_name_of_an_unknown_event_is_kept() -> None:
    assert len(webhooks.read(webhook("x" * 491)).call["event"]) == 500


@pytest.mark.parametrize(
    ("slug", "type_", "settings", "is_sent"),
    [
        ("iterable", "iterable", {"api_key": "k"}, False),
        ("newsletter", "iterable", {"api_key": "k"}, False),
        ("hook", "webhook", {"url": "https://x.io", "secret": "s" * 32}, True),
        ("upstream", "segment", {"write_key": "k"}, True),
    ],
)
@pytest.mark.parametrize("event", ["emailOpen", "embeddedClick"])
def test_no_iterable_project_is_sent_it_and_others_are(
    slug: str, type_: str, settings: dict[str, str], is_sent: bool, event: str
) -> None:
    destination = registry.build(SimpleNamespace(slug=slug, type=type_, settings=settings, rate_limits={}))
    requests = destination.requests(webhooks.read(webhook(event)).call)
    assert isinstance(requests, Skipped) is not is_sent
    assert is_sent is (isinstance(requests, tuple) and len(requests) == 1)
