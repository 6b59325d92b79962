"""POST /sandbox/webhooks: system webhooks about somebody, sent to a URL as Iterable sends them. Needs no key.

    curl http://127.0.0.1:8091/sandbox/webhooks -d '{"email": "ann@example.com", "events": ["emailSend", "emailOpen"],
        "url": "http://127.0.0.1:8090/webhooks/iterable/iterable_events", "secret": "…"}'

Takes `url`; `email` or `userId`, or both; `secret` (the webhook's Auth Token) and `authType` (Basic, OAuth2 or NoAuth);
`events` (default: all that it knows; it makes some of any other name, too); `createdAt` (Unix seconds, default now);
and `times`, to deliver each so many times over. Answers with each delivery's event, status (null: nobody answered) and
answer.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import aiohttp
import orjson
from aiohttp import web

_SECONDS_TO_ANSWER: Final = 10.0
_MOST_DELIVERIES: Final = 10_000
_ANSWER_LENGTH: Final = 500

_KEYS: Final = ("url", "email", "userId", "secret", "authType", "events", "createdAt", "times")

_CAMPAIGN: Final = {
    "campaignId": 49313,
    "campaignName": "Sandbox campaign",
    "templateId": 79190,
    "templateName": "Sandbox template",
    "workflowId": None,
    "workflowName": None,
    "channelId": 3420,
    "messageTypeId": 3866,
    "experimentId": None,
    "labels": [],
    "locale": None,
}
_EMAIL: Final = {**_CAMPAIGN, "emailSubject": "Sandbox subject"}
_PUSH: Final = {
    **_CAMPAIGN,
    "pushMessage": "Sandbox push",
    "payload": {"path": "shop_home"},
    "sound": "",
    "badge": None,
}
_SMS: Final = {**_CAMPAIGN, "smsMessage": "Sandbox SMS", "fromPhoneNumberId": 258, "imageUrl": None}
_SEEN: Final = {"ip": "192.0.2.7", "userAgent": "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)"}
_LINK: Final = {"url": "https://www.example.com", "linkUrl": "https://www.example.com", "linkId": "3145668988"}
_SKIP: Final = {"campaignId": 49313, "reason": "DuplicateMarketingMessage"}
_LISTS: Final = {"emailListIds": [1589748], "channelIds": [], "messageTypeIds": []}

# What each event says beside who and when.
EVENTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "emailSend": {**_EMAIL, "contentId": 331201},
    "emailSendSkip": _SKIP,
    "emailOpen": {**_EMAIL, **_SEEN, "proxySource": "Gmail", "device": "Gmail"},
    "emailClick": {**_EMAIL, **_SEEN, **_LINK, "userAgentDevice": "Mac", "city": "San Francisco", "region": "CA"},
    "emailBounce": {**_EMAIL, "recipientState": "HardBounce"},
    "emailComplaint": {**_EMAIL, "recipientState": "Complaint"},
    "emailSubscribe": {**_LISTS, "signupSource": "WebForm"},
    "emailUnSubscribe": {**_EMAIL, **_LISTS, "emailListIds": [], "channelIds": [3420], "unsubSource": "EmailLink"},
    "hostedUnsubscribeClick": {**_EMAIL, **_SEEN, "country": "United States", "url": "https://www.example.com"},
    "pushSend": _PUSH,
    "pushSendSkip": _SKIP,
    "pushOpen": {**_PUSH, "appAlreadyRunning": False},
    "pushBounce": {**_PUSH, "platformEndpoint": "sandbox"},
    "pushUninstall": {**_PUSH, "isGhostPush": False},
    "smsSend": {**_SMS, "toPhoneNumber": "+16505550123"},
    "smsSendSkip": _SKIP,
    "smsBounce": {**_SMS, "smsProviderResponse": {"status": 404, "code": 20404}},
    "smsClick": {**_SMS, "clickedUrl": "https://www.example.com"},
    "smsReceived": {"fromPhoneNumber": "+16505550123", "toPhoneNumber": "+14155550123", "smsMessage": "Message text"},
    "inAppSend": {**_CAMPAIGN, "messageContext": {"saveToInbox": False, "trigger": "immediate"}},
    "inAppSendSkip": _SKIP,
    "inAppOpen": {"campaignId": 49313},
    "inAppClick": {"campaignId": 49313},
    "webPushSend": {**_CAMPAIGN, "browserToken": "sandbox", "webPushMessage": ""},
    "webPushSendSkip": _SKIP,
}


class _Wrong(Exception):
    """A request that says nothing to send."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Wanted:
    url: str
    who: dict[str, str]
    authorization: str | None
    events: list[str]
    created_at: int
    times: int


def routes() -> list[web.RouteDef]:
    return [web.post("/sandbox/webhooks", _send)]


async def _send(request: web.Request) -> web.Response:
    try:
        wanted = _read(await request.read())
    except _Wrong as wrong:
        return _json({"error": str(wrong)}, 400)
    bodies = [_body(wanted, event) for event in wanted.events]
    headers = {"Content-Type": "application/json"}
    if wanted.authorization is not None:
        headers["Authorization"] = wanted.authorization
    timeout = aiohttp.ClientTimeout(total=_SECONDS_TO_ANSWER)
    async with aiohttp.ClientSession(timeout=timeout, headers=headers) as session:
        # One after the other, in the order in which things happen.
        sent = [await _deliver(session, wanted.url, body) for body in bodies for _ in range(wanted.times)]
    return _json({"sent": sent}, 200)


def _read(raw: bytes) -> _Wanted:
    """The request with its defaults."""
    try:
        said = orjson.loads(raw)
    except orjson.JSONDecodeError:
        said = None
    if not isinstance(said, dict):
        raise _Wrong("expected a JSON object")
    for key in said:
        if key not in _KEYS:
            raise _Wrong(f"unknown key {key!r}; expected {', '.join(_KEYS)}")
    url = _text(said, "url")
    if not url.startswith(("http://", "https://")):
        raise _Wrong("url: expected where to send to, such as http://127.0.0.1:8090/webhooks/iterable/iterable_events")
    who = {key: text for key in ("email", "userId") if (text := _text(said, key))}
    if not who:
        raise _Wrong("email: expected whom the events are about, an email or a userId")
    events = said.get("events", list(EVENTS))
    if not isinstance(events, list) or not all(isinstance(event, str) for event in events):
        raise _Wrong("events: expected a list of names such as emailOpen")
    times = _whole_number(said, "times", 1)
    if len(events) * times > _MOST_DELIVERIES:
        raise _Wrong(f"times: expected at most {_MOST_DELIVERIES} deliveries at once")
    return _Wanted(
        url=url,
        who=who,
        authorization=_authorization(said),
        events=events,
        created_at=_whole_number(said, "createdAt", int(time.time())),
        times=times,
    )


def _authorization(said: Mapping[str, Any]) -> str | None:
    type_, secret = _text(said, "authType") or "Basic", _text(said, "secret")
    if type_ not in ("Basic", "OAuth2", "NoAuth"):
        raise _Wrong("authType: expected Basic, OAuth2 or NoAuth")
    if not secret.isprintable() or not secret.isascii():
        raise _Wrong("secret: expected printable ASCII characters")
    return f"{type_} {secret}" if secret and type_ != "NoAuth" else None


def _text(said: Mapping[str, Any], key: str) -> str:
    value = said.get(key, "")
    if not isinstance(value, str):
        raise _Wrong(f"{key}: expected a string")
    return value


def _whole_number(said: Mapping[str, Any], key: str, default: int) -> int:
    value = said.get(key, default)
    if type(value) is not int or not 0 <= value < 2**32:
        raise _Wrong(f"{key}: expected a whole number")
    return value


def _body(wanted: _Wanted, event: str) -> dict[str, Any]:
    """A webhook's body; each has a messageId of its own."""
    created = datetime.fromtimestamp(wanted.created_at, UTC).replace(tzinfo=None)
    fields = {
        **EVENTS.get(event, _CAMPAIGN),
        "createdAt": f"{created} +00:00",
        "messageId": uuid.uuid4().hex,
    }
    email = wanted.who.get("email")
    if email is not None:
        fields["email"] = email
        if "emailSubject" in fields:
            fields["emailId"] = f"c{fields['campaignId']}:t{fields['templateId']}:{email}"
    return {**wanted.who, "eventName": event, "dataFields": fields}


async def _deliver(session: aiohttp.ClientSession, url: str, body: Mapping[str, Any]) -> dict[str, Any]:
    told = {"eventName": body["eventName"]}
    try:
        async with session.post(url, data=orjson.dumps(body)) as answer:
            text = (await answer.read())[:_ANSWER_LENGTH].decode("utf-8", "replace")
            return {**told, "status": answer.status, "answer": text}
    except (aiohttp.ClientError, TimeoutError, ValueError) as failure:
        return {**told, "status": None, "answer": str(failure) or type(failure).__name__}


def _json(value: Any, status: int) -> web.Response:
    return web.Response(body=orjson.dumps(value), status=status, content_type="application/json")
