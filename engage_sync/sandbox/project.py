"""What a request that has the right form does: the users, events and purchases of one Iterable project."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from engage_sync.sandbox.answers import Failure, conflict, success
from engage_sync.sandbox.fields import FieldTypes
from engage_sync.sandbox.options import (
    EVENTS_TRACK,
    TRACK_PURCHASE,
    UPDATE_CART,
    UPDATE_EMAIL,
    USERS_UPDATE,
    Options,
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
        self.events: dict[str, Event] = {}
        self.repeats = 0
        self.profile_types = FieldTypes(strict_numbers=options.strict_numbers)
        self.event_types = FieldTypes(strict_numbers=options.strict_numbers)
        self._events_of: dict[str, dict[str, None]] = {}
        self._acts: Mapping[str, Callable[[dict[str, Any], int], bytes | Failure]] = {
            USERS_UPDATE: self._update_user,
            UPDATE_EMAIL: self._update_email,
            EVENTS_TRACK: self._track,
            TRACK_PURCHASE: self._purchase,
            UPDATE_CART: self._cart,
        }

    def act(self, path: str, body: dict[str, Any], received_at: int) -> bytes | Failure:
        """`received_at`, in Unix seconds, stands in for a missing createdAt."""
        return self._acts[path](body, received_at)

    def events_of(self, identity: str) -> list[Event]:
        """The events of an email or a userId, newest first."""
        keys = self._events_of.get(identity.lower(), {})
        return sorted((self.events[key] for key in keys), key=lambda event: event.created_at, reverse=True)

    def _update_user(self, body: dict[str, Any], received_at: int) -> bytes | Failure:
        user = self._upsert(body)
        return user if isinstance(user, Failure) else success()

    def _update_email(self, body: dict[str, Any], received_at: int) -> bytes | Failure:
        if "currentEmail" in body:
            user, missing = self.users.by_email(body["currentEmail"]), unknown_email()
        else:
            user, missing = self.users.by_user_id(body["currentUserId"]), unknown_user_id()
        if user is None:
            return missing
        if self.users.email_is_taken(body["newEmail"], user):
            return conflict("EmailAlreadyExists", "Another user already has the new email")
        self._move_events(user.email, body["newEmail"])
        self.users.change_email(user, body["newEmail"])
        if "email" in user.data_fields:
            user.data_fields["email"] = body["newEmail"]
        return success()

    def _move_events(self, before: str | None, after: str) -> None:
        """What a user did stays theirs under another email."""
        for key in self._events_of.pop(before.lower(), {}) if before else ():
            self.events[key].email = after
            self._events_of.setdefault(after.lower(), {})[key] = None

    def _track(self, body: dict[str, Any], received_at: int) -> bytes | Failure:
        types = self.event_types.read(body.get("dataFields") or {})
        if isinstance(types, Failure):
            return types
        user = self._user_of_event(body)
        if isinstance(user, Failure):
            return user
        self.event_types.fix(types)
        event = self._keep(body, body, body["eventName"], user, received_at)
        return success(f"Event with id: {event.id} tracked.", {"id": event.id})

    def _purchase(self, body: dict[str, Any], received_at: int) -> bytes | Failure:
        types = self.event_types.read(body.get("dataFields") or {})
        if isinstance(types, Failure):
            return types
        user = self._upsert(body["user"])
        if isinstance(user, Failure):
            return user
        self.event_types.fix(types)
        user.data_fields.pop("shoppingCartItems", None)
        event = self._keep(body, body["user"], PURCHASE, user, received_at)
        return success("", {"id": event.id})

    def _cart(self, body: dict[str, Any], received_at: int) -> bytes | Failure:
        user = self._upsert(body["user"])
        if isinstance(user, Failure):
            return user
        user.data_fields["shoppingCartItems"] = body["items"]
        return success()

    def _upsert(self, who: Mapping[str, Any]) -> User | Failure:
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
        key = body.get("id") or f"sandbox-{len(self.events) + 1}"
        event = Event(
            id=key,
            name=name,
            email=who.get("email") or (user.email if user else None),
            user_id=who.get("userId") or (user.user_id if user else None),
            created_at=body.get("createdAt", received_at),
            data_fields=body.get("dataFields") or {},
            rest={field: body[field] for field in ("campaignId", "templateId", "items", "total") if field in body},
        )
        before = self.events.get(key)
        if before is not None:
            self.repeats += 1
            event.repeats = before.repeats + 1
            for identity in _identities(before):
                self._events_of[identity].pop(key, None)
        self.events[key] = event
        for identity in _identities(event):
            self._events_of.setdefault(identity, {})[key] = None
        return event


def _identities(event: Event) -> set[str]:
    return {identity.lower() for identity in (event.email, event.user_id) if identity}
