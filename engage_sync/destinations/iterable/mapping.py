"""One Segment call → requests of Iterable's API."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from engage_sync.destinations.iterable import commerce
from engage_sync.destinations.iterable.dates import unix_seconds
from engage_sync.destinations.iterable.identity import context_traits, email_of, identity, user_id_of
from engage_sync.destinations.iterable.phone import phone_number
from engage_sync.destinations.iterable.refusal import Unsendable
from engage_sync.destinations.iterable.settings import IterableSettings
from engage_sync.destinations.iterable.values import data_fields, text_of, whole_number
from engage_sync.destinations.protocol import Refused, Request, Skipped

USERS_UPDATE: Final = "/api/users/update"
UPDATE_EMAIL: Final = "/api/users/updateEmail"
EVENTS_TRACK: Final = "/api/events/track"
TRACK_PURCHASE: Final = "/api/commerce/trackPurchase"
UPDATE_CART: Final = "/api/commerce/updateCart"

MAX_ID_BYTES: Final = 512

# Iterable writes these itself, and refuses or misreads them from outside.
_MANAGED: Final = frozenset(
    {"emailListIds", "itblDS", "itblInternal", "itblUserId", "profileUpdatedAt", "signupDate", "signupSource"}
)
_CONTEXT: Final = ("app", "device", "ip", "locale", "location", "page", "userAgent")
_PURCHASE_ONLY: Final = frozenset({"products", "total", "campaignId", "templateId"})
_INT32: Final = 32


class Mapper:
    def __init__(self, settings: IterableSettings) -> None:
        self._settings = settings
        self._by_type: Mapping[str, Callable[[Mapping[str, Any]], Request | Skipped]] = {
            "identify": self._identify,
            "track": self._track,
            "page": self._page,
            "screen": self._page,
            "alias": self._alias,
            "group": self._group,
        }

    def requests(self, call: Mapping[str, Any]) -> tuple[Request, ...] | Skipped | Refused:
        kind = call.get("type")
        map_call = self._by_type.get(kind) if type(kind) is str else None
        if map_call is None:
            known = ", ".join(self._by_type)
            return Refused(reason=f"the call's type must be one of {known}", field="type")
        if _left_out(call):
            return Skipped(reason="the call's integrations leave Iterable out")
        try:
            result = map_call(call)
        except Unsendable as unsendable:
            return Refused(reason=unsendable.reason, field=unsendable.field)
        return result if isinstance(result, Skipped) else (result,)

    def _identify(self, call: Mapping[str, Any]) -> Request:
        traits = _object(call, "traits")
        from_context = context_traits(call)
        body = self._user(
            call, ("traits.email", traits.get("email")), ("context.traits.email", from_context.get("email"))
        )
        if not _MANAGED.isdisjoint(traits):
            traits = {name: value for name, value in traits.items() if name not in _MANAGED}
        fields = data_fields(traits, "traits")
        if "email" in fields:
            _settle_email(fields, body.get("email"))
        if "phone" in traits or "phoneNumber" in traits or "phone" in from_context:
            _settle_phone(fields, traits, from_context)
        if self._settings.send_context:
            fields = {**_context_fields(call), **fields}
        body["dataFields"] = fields
        body["mergeNestedObjects"] = self._merges_nested(call)
        return Request(method="POST", path=USERS_UPDATE, body=body, budget="identify")

    def _track(self, call: Mapping[str, Any]) -> Request:
        event = call.get("event")
        if type(event) is not str or not event.strip():
            raise Unsendable("the event has no name", "event")
        properties = _object(call, "properties")
        meaning = commerce.meaning(event)
        if meaning == "purchase":
            return self._purchase(call, properties)
        if meaning == "cart" and type(properties.get("products")) is list:
            return self._cart(call, properties)
        body = identity(call, *_event_emails(call, properties))
        body["eventName"] = event
        _set_message(body, call)
        body["dataFields"] = data_fields(properties, "properties")
        _set_campaign(body, properties)
        return Request(method="POST", path=EVENTS_TRACK, body=body, budget="track")

    def _cart(self, call: Mapping[str, Any], properties: Mapping[str, Any]) -> Request:
        body = {
            "user": self._user(call, *_event_emails(call, properties)),
            "items": commerce.items(properties.get("products")),
        }
        return Request(method="POST", path=UPDATE_CART, body=body, budget="commerce")

    def _purchase(self, call: Mapping[str, Any], properties: Mapping[str, Any]) -> Request:
        # A purchase without an order_id takes the message's id, so that sending it again doesn't buy twice.
        order_id = text_of(properties.get("order_id"))
        rest = {name: value for name, value in properties.items() if name not in _PURCHASE_ONLY}
        body: dict[str, Any] = {
            "id": _fitting(order_id, "properties.order_id") if order_id else _message_id(call),
            "user": self._user(call, *_event_emails(call, properties)),
            "items": commerce.items(properties.get("products")),
            "total": commerce.total(properties),
            "createdAt": _created_at(call),
            "dataFields": data_fields(rest, "properties"),
        }
        _set_campaign(body, properties, bits=_INT32)
        return Request(method="POST", path=TRACK_PURCHASE, body=body, budget="commerce")

    def _page(self, call: Mapping[str, Any]) -> Request | Skipped:
        kind = call["type"]
        properties = _object(call, "properties")
        name = _label(call, properties, "name")
        category = _label(call, properties, "category")
        settings = self._settings
        wanted = (
            settings.track_all_pages
            or (settings.track_categorized_pages and category is not None)
            or (settings.track_named_pages and name is not None)
        )
        if not wanted:
            return Skipped(reason=f"the settings track no {kind} with {_shown(name, category)}")
        body = identity(call, *_event_emails(call, properties))
        label = None if settings.map_all_pages_to_single_event_name else name or category
        body["eventName"] = f"{label} {kind}" if label else f"Loaded a {kind.title()}"
        _set_message(body, call)
        labels = {"name": name, "category": category}
        given = {field: label for field, label in labels.items() if label is not None}
        body["dataFields"] = data_fields({**properties, **given}, "properties")
        return Request(method="POST", path=EVENTS_TRACK, body=body, budget="track")

    def _alias(self, call: Mapping[str, Any]) -> Request | Skipped:
        new_email = email_of(call.get("userId"))
        if new_email is None:
            return Skipped(reason="an alias is sent only where its new id is an email")
        if self._settings.email_change != "update":
            return Skipped(reason="a new email becomes a new user; the setting email_change: update changes it instead")
        previous = call.get("previousId")
        current_email = email_of(previous)
        current_id = None if current_email else user_id_of(previous)
        if current_email is None and current_id is None:
            raise Unsendable("the previous id is neither an email nor a userId that Iterable takes", "previousId")
        if self._settings.project_type == "email":
            who = {"currentEmail": current_email} if current_email else {"currentUserId": current_id}
            body: dict[str, Any] = {**who, "newEmail": new_email}
            return Request(method="POST", path=UPDATE_EMAIL, body=body, budget="other")
        return self._email_by_update(current_email, current_id, new_email)

    def _email_by_update(self, current_email: str | None, current_id: str | None, new_email: str) -> Request:
        # These projects change an email like any other field: the user is found by what stays, or by the old email.
        body: dict[str, Any] = {"userId": current_id} if current_id else {"email": current_email}
        if current_id and self._settings.project_type == "user_id":
            body["email"] = new_email
        elif self._settings.project_type == "user_id":
            raise Unsendable("in a user_id project only a userId finds the user whose email changes", "previousId")
        body["dataFields"] = {"email": new_email}
        return Request(method="POST", path=USERS_UPDATE, body=body, budget="identify")

    def _group(self, call: Mapping[str, Any]) -> Skipped:
        return Skipped(reason="group calls are not sent to Iterable, which knows no groups")

    def _user(self, call: Mapping[str, Any], *emails: tuple[str, Any]) -> dict[str, Any]:
        user = identity(call, *emails)
        if self._settings.prefer_user_id and "email" not in user:
            user["preferUserId"] = True
        return user

    def _merges_nested(self, call: Mapping[str, Any]) -> bool:
        integrations = call.get("integrations")
        own = integrations.get("Iterable") if type(integrations) is dict else None
        wish = own.get("mergeNestedObjects") if type(own) is dict else None
        return wish if type(wish) is bool else self._settings.merge_nested_objects


def _left_out(call: Mapping[str, Any]) -> bool:
    integrations = call.get("integrations")
    if type(integrations) is not dict:
        return False
    own = integrations.get("Iterable")
    return own is False or (own is None and integrations.get("All") is False)


def _event_emails(call: Mapping[str, Any], properties: Mapping[str, Any]) -> tuple[tuple[str, Any], tuple[str, Any]]:
    """Where a call about an event keeps the email of its person, first to last."""
    return ("context.traits.email", context_traits(call).get("email")), ("properties.email", properties.get("email"))


def _object(call: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    value = call.get(field)
    if value is None:
        return {}
    if type(value) is not dict:
        raise Unsendable(f"{field} is not an object", field)
    return value


def _settle_email(fields: dict[str, Any], email: str | None) -> None:
    # The email is who it is, not a fact about them: the field only repeats it, and is never cleared or made up.
    if email is None:
        del fields["email"]
    else:
        fields["email"] = email


def _settle_phone(fields: dict[str, Any], traits: Mapping[str, Any], from_context: Mapping[str, Any]) -> None:
    """`phone` gives way to `phoneNumber`, which is text, or null to clear it; what can be neither is left out."""
    fields.pop("phone", None)
    fields.pop("phoneNumber", None)
    if "phoneNumber" in traits and "phone" not in traits:
        given = traits["phoneNumber"]
        settled = given if given is None else text_of(given)
    else:
        given = traits["phone"] if "phone" in traits else from_context["phone"]
        text = text_of(given)
        settled = None if text is None else phone_number(text, traits)
    if settled is not None or given is None:
        fields["phoneNumber"] = settled


def _context_fields(call: Mapping[str, Any]) -> dict[str, Any]:
    context = call.get("context")
    if type(context) is not dict:
        return {}
    chosen = {name: context[name] for name in _CONTEXT if name in context}
    if "timezone" in context:
        chosen["timeZone"] = context["timezone"]
    return data_fields(chosen, "context")


def _set_message(body: dict[str, Any], call: Mapping[str, Any]) -> None:
    body["id"] = _message_id(call)
    body["createdAt"] = _created_at(call)


def _message_id(call: Mapping[str, Any]) -> str:
    message_id = text_of(call.get("messageId"))
    if message_id is None:
        raise Unsendable("the call has no messageId", "messageId")
    return _fitting(message_id, "messageId")


def _fitting(identifier: str, field: str) -> str:
    if len(identifier.encode("utf-8", "surrogatepass")) > MAX_ID_BYTES:
        raise Unsendable(f"Iterable takes ids of up to {MAX_ID_BYTES} bytes", field)
    return identifier


def _created_at(call: Mapping[str, Any]) -> int:
    seconds = unix_seconds(call.get("timestamp"))
    if seconds is None:
        raise Unsendable("the timestamp is missing, or not an ISO 8601 date-time from 1970 to 2200", "timestamp")
    return seconds


def _set_campaign(body: dict[str, Any], properties: Mapping[str, Any], *, bits: int = 64) -> None:
    for name in ("campaignId", "templateId"):
        if name in properties:
            found = whole_number(properties[name], bits=bits)
            if found is not None:
                body[name] = found


def _label(call: Mapping[str, Any], properties: Mapping[str, Any], field: str) -> str | None:
    for value in (call.get(field), properties.get(field)):
        if type(value) is str and value.strip():
            return value
    return None


def _shown(name: str | None, category: str | None) -> str:
    parts = [label for label, value in (("a name", name), ("a category", category)) if value is not None]
    return " and ".join(parts) if parts else "neither name nor category"
