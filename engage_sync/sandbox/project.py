"""What a request that has the right form does: the users, events and purchases of one Iterable project."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from engage_sync.sandbox import bulk, leaving
from engage_sync.sandbox.answers import Failure, conflict, forgotten_user, success
from engage_sync.sandbox.fields import FieldTypes
from engage_sync.sandbox.leaving import Forgotten
from engage_sync.sandbox.options import (
    BULK_UPDATE,
    EVENTS_TRACK,
    TRACK_BULK,
    TRACK_PURCHASE,
    UPDATE_CART,
    UPDATE_EMAIL,
    USERS_FORGET,
    USERS_MERGE,
    USERS_UPDATE,
    Options,
    ProjectType,
)
from engage_sync.sandbox.users import User, Users, merged, unknown_email, unknown_user_id

PURCHASE: Final = "purchase"


@dataclass(kw_only=True, slots=True, eq=False)
class Event:
    """One event. `repeats` counts the later requests with the same id, which changed it instead of adding one."""

    id: str
    name: str
    email: str | None
    user_id: str | None
    created_at: int
    data_fields: dict[str, Any]
    rest: dict[str, Any]
    repeats: int = 0

    def shown(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "eventName": self.name,
            "email": self.email,
            "userId": self.user_id,
            "createdAt": self.created_at,
            "dataFields": self.data_fields,
            "repeats": self.repeats,
            **self.rest,
        }


class Project:
    """`act` raises nothing: it answers with the body of a success, or with a Failure and nothing changed."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self.users = Users(options.project_type)
        self.forgotten = Forgotten()
        self.events: dict[str, Event] = {}
        self.repeats = 0
        self._made = 0
        self.profile_types = FieldTypes(strict_numbers=options.strict_numbers)
        self.event_types = FieldTypes(strict_numbers=options.strict_numbers)
        self._events_of: dict[str, dict[str, None]] = {}
        self._acts: Mapping[str, Callable[[dict[str, Any], int], bytes | Failure]] = {
            USERS_UPDATE: self._update_user,
            UPDATE_EMAIL: self._update_email,
            EVENTS_TRACK: self._track,
            TRACK_PURCHASE: self._purchase,
            UPDATE_CART: self._cart,
            BULK_UPDATE: partial(bulk.update_users, self),
            TRACK_BULK: partial(bulk.track_events, self),
            USERS_FORGET: partial(leaving.forget, self),
            USERS_MERGE: partial(leaving.merge, self),
        }

    @property
    def project_type(self) -> ProjectType:
        return self._options.project_type

    def act(self, path: str, body: dict[str, Any], received_at: int) -> bytes | Failure:
        """`received_at`, in Unix seconds, stands in for a missing createdAt."""
        return self._acts[path](body, received_at)

    def events_of(self, identity: str) -> list[Event]:
        """The events of an email or a userId, newest first."""
        keys = self._events_of.get(identity.lower(), {})
        return sorted((self.events[key] for key in keys), key=lambda event: event.created_at, reverse=True)

    def is_disallowed(self, event: str) -> bool:
        return event in self._options.disallowed_events

    def upsert(self, who: Mapping[str, Any]) -> User | Failure:
        """The user of a request that makes one where there is none, with its data fields."""
        if self.forgotten.has(who):
            return forgotten_user()
        fields = who.get("dataFields") or {}
        types = self.profile_types.read({name: value for name, value in fields.items() if name != "email"})
        if isinstance(types, Failure):
            return types
        # Outside of email projects the email is a field like others, and changes like one.
        new_email = fields.get("email") if self._options.project_type != "email" else None
        if new_email is not None and self.users.email_is_taken(new_email, self.users.find(who)):
            return conflict("EmailAlreadyExists", "Another user already has this email")
        user = self.users.find_or_add(who)
        if isinstance(user, Failure):
            return user
        if new_email is not None:
            self.users.change_email(user, new_email)
        self.profile_types.fix(types)
        nested = who.get("mergeNestedObjects") is True
        user.data_fields = merged(user.data_fields, fields, nested=nested)
        user.updates += 1
        return user

    def track(self, body: Mapping[str, Any], received_at: int) -> Event | Failure:
        """Keep one event. Iterable doesn't say what it answers for a forgotten user; here it is what an update gets."""
        if self.forgotten.has(body):
            return forgotten_user()
        types = self.event_types.read(body.get("dataFields") or {})
        if isinstance(types, Failure):
            return types
        user = self._user_of_event(body)
        if isinstance(user, Failure):
            return user
        if self.is_disallowed(body["eventName"]):
            return _event(body, body, body["eventName"], "", user, received_at)
        self.event_types.fix(types)
        return self._keep(body, body, body["eventName"], user, received_at)

    def remove_events(self, user: User) -> None:
        """Forget what a user did, by the identity that tells users apart."""
        for event in self._own_events(user):
            del self.events[event.id]
            self._unlist(event)

    def hand_over_events(self, source: User, destination: User) -> None:
        for event in self._own_events(source):
            self._unlist(event)
            event.email, event.user_id = destination.email, destination.user_id
            self._list(event)

    def _update_user(self, body: dict[str, Any], received_at: int) -> bytes | Failure:
        user = self.upsert(body)
        return user if isinstance(user, Failure) else success()

    def _update_email(self, body: dict[str, Any], received_at: int) -> bytes | Failure:
        if "currentEmail" in body:
            user, missing = self.users.by_email(body["currentEmail"]), unknown_email()
        else:
            user, missing = self.users.by_user_id(body["currentUserId"]), unknown_user_id()
        if self.forgotten.has({"email": body["newEmail"]}):
            return forgotten_user()
        if user is None:
            return missing
        if self.users.email_is_taken(body["newEmail"], user):
            return conflict("EmailAlreadyExists", "Another user already has the new email")
        self.users.change_email(user, body["newEmail"])
        return success()

    def _track(self, body: dict[str, Any], received_at: int) -> bytes | Failure:
        event = self.track(body, received_at)
        if isinstance(event, Failure):
            return event
        if self.is_disallowed(event.name):
            return success(f"The event {event.name} is disallowed from tracking")
        return success(f"Event with id: {event.id} tracked.", {"id": event.id})

    def _purchase(self, body: dict[str, Any], received_at: int) -> bytes | Failure:
        types = self.event_types.read(body.get("dataFields") or {})
        if isinstance(types, Failure):
            return types
        user = self.upsert(body["user"])
        if isinstance(user, Failure):
            return user
        self.event_types.fix(types)
        user.data_fields.pop("shoppingCartItems", None)
        event = self._keep(body, body["user"], PURCHASE, user, received_at)
        return success("", {"id": event.id})

    def _cart(self, body: dict[str, Any], received_at: int) -> bytes | Failure:
        user = self.upsert(body["user"])
        if isinstance(user, Failure):
            return user
        user.data_fields["shoppingCartItems"] = body["items"]
        return success()

    def _user_of_event(self, who: Mapping[str, Any]) -> User | Failure | None:
        """In an email project an event makes no user: one with an unknown email is kept without."""
        if self._options.project_type != "email":
            return self.users.find_or_add(who)
        user = self.users.find(who)
        if user is None and "email" not in who:
            return unknown_user_id()
        return user

    def _keep(
        self, body: Mapping[str, Any], who: Mapping[str, Any], name: str, user: User | None, received_at: int
    ) -> Event:
        self._made += 1
        event = _event(body, who, name, body.get("id") or f"sandbox-{self._made}", user, received_at)
        before = self.events.get(event.id)
        if before is not None:
            self.repeats += 1
            event.repeats = before.repeats + 1
            self._unlist(before)
        self.events[event.id] = event
        self._list(event)
        return event

    def _own_events(self, user: User) -> list[Event]:
        by_user_id = self.project_type == "user_id" or user.email is None
        key = user.user_id if by_user_id else user.email
        return [
            event
            for event in self.events_of(key or "")
            if event.user_id == user.user_id or (not by_user_id and _same(event.email, user.email))
        ]

    def _list(self, event: Event) -> None:
        for identity in _identities(event):
            self._events_of.setdefault(identity, {})[event.id] = None

    def _unlist(self, event: Event) -> None:
        for identity in _identities(event):
            self._events_of[identity].pop(event.id, None)


def _event(
    body: Mapping[str, Any], who: Mapping[str, Any], name: str, key: str, user: User | None, received_at: int
) -> Event:
    return Event(
        id=key,
        name=name,
        email=who.get("email") or (user.email if user else None),
        user_id=who.get("userId") or (user.user_id if user else None),
        created_at=body.get("createdAt", received_at),
        data_fields=body.get("dataFields") or {},
        rest={field: body[field] for field in ("campaignId", "templateId", "items", "total") if field in body},
    )


def _same(email: str | None, other: str | None) -> bool:
    return email is not None and other is not None and email.lower() == other.lower()


def _identities(event: Event) -> set[str]:
    return {identity.lower() for identity in (event.email, event.user_id) if identity}
