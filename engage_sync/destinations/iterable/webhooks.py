"""What comes back from Iterable: its system webhooks become `track` calls, named as Segment's email spec names them.

Pure: a parsed body in, a normalised call out. It stands beside the mapping of what leaves, as this folder is the one
place that knows Iterable's words. A call made here says of itself that it never goes back.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

from engage_sync import errors
from engage_sync.destinations.iterable.dates import iso_8601
from engage_sync.ingest import accept
from engage_sync.profiles import facts

# Iterable's event names, and those under which it sends the same events to Segment itself:
# support.iterable.com/hc/en-us/articles/210012983. What it calls a send is Segment's "delivered", though nobody
# confirmed that it arrived.
EVENTS: Final[Mapping[str, str]] = {
    "emailSend": "Email Delivered",
    "emailSendSkip": "Email Send Skip",
    "emailOpen": "Email Opened",
    "emailClick": "Email Link Clicked",
    "emailBounce": "Email Bounced",
    "emailComplaint": "Email Marked as Spam",
    "emailSubscribe": "Subscribed",
    "emailUnSubscribe": "Unsubscribed",
    "hostedUnsubscribeClick": "Hosted Unsubscribe Click",
    "pushSend": "Push Delivered",
    "pushSendSkip": "Push Send Skip",
    "pushOpen": "Push Opened",
    "pushBounce": "Push Bounced",
    "pushUninstall": "Mobile App Uninstalled",
    "smsSend": "SMS Delivered",
    "smsSendSkip": "SMS Send Skip",
    "smsBounce": "SMS Bounced",
    "smsClick": "SMS Clicked",
    "smsReceived": "SMS Received",
    "inAppSend": "In App Sent",
    "inAppSendSkip": "In App Send Skip",
    "inAppDelivery": "In App Delivered",
    "inAppOpen": "In App Opened",
    "inAppClick": "In App Clicked",
    "webPushSend": "Web Push Delivered",
    "webPushSendSkip": "Web Push Send Skip",
    "webPushClick": "Web Push Clicked",
}

# Any other event keeps its own name behind this: it can't be taken for an event of the shop, and is found by the name
# that Iterable's pages give it.
UNKNOWN_PREFIX: Final = "Iterable "

# Read without regard to case: Iterable's own pages write emailUnSubscribe and emailUnsubscribe.
_BY_LOWER_CASE: Final = {name.lower(): name for name in EVENTS}

# An in-app message comes with all of its content, which no definition asks for.
MAX_BYTES: Final = 1_000_000
LEFT_OUT: Final = "left_out"

# What Segment's spec calls otherwise, as text; Iterable's own fields stay beside it as they came.
_IN_SPEC: Final = (
    ("email_id", "emailId"),
    ("email_subject", "emailSubject"),
    ("campaign_id", "campaignId"),
    ("campaign_name", "campaignName"),
    ("link_id", "linkId"),
    ("link_url", "linkUrl"),
)

# Of a call, what stands around its properties: names, addresses and the user agent, twice.
_BYTES_AROUND: Final = 8 * 1024
_LONGEST_IN_CONTEXT: Final = 1_000
_MOST_NAMES_LEFT_OUT: Final = 20

# The email that Iterable makes up for a user who has only a userId.
_PLACEHOLDER: Final = re.compile(r"@placeholder\.email\s*$", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Webhook:
    """One webhook. `event` is Iterable's name for what happened, `call` the normalised call that it becomes."""

    event: str
    is_known: bool
    call: dict[str, Any]


def read(payload: Any) -> Webhook:
    """The webhook in a parsed body (see accept.parse).

    The same content gives the same messageId, in whatever order its fields are, so that what Iterable delivers again
    counts once. What is too large for a call loses its largest properties, whose names stay, under `left_out`. Raises
    errors.CallInvalid with the field and what was expected of it.
    """
    if not isinstance(payload, dict):
        raise errors.CallInvalid("body: expected a JSON object with email or userId, eventName and dataFields")
    event, is_known = _event(payload.get("eventName"))
    fields = payload.get("dataFields")
    if fields is None:
        fields = {}
    elif not isinstance(fields, dict):
        raise errors.CallInvalid("dataFields: expected an object")
    email, user_id = _who(payload, fields)
    call = accept.normalise(
        {
            "type": "track",
            "event": EVENTS[event] if is_known else UNKNOWN_PREFIX + event,
            "messageId": "iterable-" + blake2b(facts.canonical(payload), digest_size=16).hexdigest(),
            "userId": user_id,
            "timestamp": iso_8601(fields.get("createdAt")),
            "properties": _fitting(_properties(fields), accept.MAX_CALL_BYTES - _BYTES_AROUND),
            "context": _context(email, fields),
            # What Iterable told is never told to Iterable again, whoever its source is connected to.
            "integrations": {"All": True, "Iterable": False},
        }
    )
    return Webhook(event=event, is_known=is_known, call=call)


def _event(name: Any) -> tuple[str, bool]:
    if not isinstance(name, str) or not name.strip():
        raise errors.CallInvalid("eventName: expected the name of an event such as emailOpen")
    name = name.strip()
    known = _BY_LOWER_CASE.get(name.lower())
    if known is not None:
        return known, True
    limit = accept.MAX_NAME - len(UNKNOWN_PREFIX)
    if len(name) > limit:
        raise errors.CallInvalid(f"eventName: expected at most {limit} characters, got {len(name)}")
    return name, False


def _who(payload: Mapping[str, Any], fields: Mapping[str, Any]) -> tuple[str | None, Any]:
    """The email and the userId, of which at least one is given; the email on top goes before that of the fields."""
    email = _email(payload.get("email"), "email") or _email(fields.get("email"), "dataFields.email")
    user_id = payload.get("userId")
    if isinstance(user_id, str) and not user_id.strip():
        user_id = None
    if email is not None and user_id is not None and _PLACEHOLDER.search(email):
        email = None
    if email is None and user_id is None:
        raise errors.CallInvalid("email: expected an email, or a userId")
    return email, user_id


def _email(value: Any, field: str) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise errors.CallInvalid(f"{field}: expected a string")
    return value.strip() or None


def _properties(fields: Mapping[str, Any]) -> dict[str, Any]:
    properties = {name: value for name, value in fields.items() if name != "email"}
    lists = fields.get("emailListIds")
    if isinstance(lists, list) and len(lists) == 1:
        _specify(properties, "list_id", lists[0])
    for name, source in _IN_SPEC:
        _specify(properties, name, fields.get(source))
    return properties


def _fitting(properties: dict[str, Any], most: int) -> dict[str, Any]:
    """The properties as far as they fit in so many bytes of JSON."""
    sizes = {name: len(accept.encode({name: value})) for name, value in properties.items()}
    total, left_out = sum(sizes.values()), []
    for name in sorted(sizes, key=lambda name: sizes[name], reverse=True):
        if total <= most:
            break
        total += len(name) - sizes[name]
        left_out.append(name)
    if not left_out:
        return properties
    kept = {name: value for name, value in properties.items() if name not in left_out}
    # Thousands of small ones may not even leave room for their names.
    return {**kept, LEFT_OUT: sorted(left_out)[:_MOST_NAMES_LEFT_OUT]}


def _specify(properties: dict[str, Any], name: str, value: Any) -> None:
    if isinstance(value, int | str) and not isinstance(value, bool):
        properties.setdefault(name, str(value))


def _is_short(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _LONGEST_IN_CONTEXT


def _context(email: str | None, fields: Mapping[str, Any]) -> dict[str, Any]:
    context: dict[str, Any] = {"integration": {"name": "Iterable"}}
    if email is not None:
        context["traits"] = {"email": email}
    if _is_short(fields.get("ip")):
        context["ip"] = fields["ip"]
    if _is_short(fields.get("userAgent")):
        # The email spec says user_agent, where all other calls say userAgent.
        context["userAgent"] = context["user_agent"] = fields["userAgent"]
    return context
