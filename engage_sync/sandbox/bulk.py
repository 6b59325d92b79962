"""users/bulkUpdate and events/trackBulk: entry by entry, in order; what fails is listed by its email or userId.

A wrong JSON type or a mismatch with a field's type refuses the whole request, and nothing of it is done.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import orjson

from engage_sync.sandbox.answers import Failure
from engage_sync.sandbox.checks import is_email, is_user_id

if TYPE_CHECKING:
    from engage_sync.sandbox.project import Project

_BOTH: Final = ("invalidEmails", "invalidUserIds", "forgottenEmails", "forgottenUserIds")
_OF_USERS: Final = (*_BOTH, "invalidDataEmails", "invalidDataUserIds", "conflictEmails", "conflictUserIds")
_OF_EVENTS: Final = (*_BOTH, "notFoundEmails", "notFoundUserIds")

# Which list an entry goes to for the failure that a single request would have met.
_USER_LISTS: Final[Mapping[str, str]] = {
    "EmailAlreadyExists": "conflictEmails",
    "ExternalKeyConflict": "conflictEmails",
    "UserIdAlreadyExists": "conflictUserIds",
    "UnknownUserIdError": "invalidUserIds",
    "UnknownEmailError": "invalidEmails",
}
_EVENT_LISTS: Final[Mapping[str, str]] = {
    "UnknownUserIdError": "notFoundUserIds",
    "UnknownEmailError": "notFoundEmails",
}


def update_users(project: Project, body: Mapping[str, Any], received_at: int) -> bytes | Failure:
    users = body["users"]
    types = project.profile_types.read(*({**(user.get("dataFields") or {}), "email": None} for user in users))
    if isinstance(types, Failure):
        return types
    result = _Result(_OF_USERS)
    for user in users:
        invalid = _invalid(user) or _invalid_data_email(project, user)
        if invalid is not None:
            result.fail(user, invalid)
            continue
        if body.get("updateOnly") is True and project.users.find(user) is None:
            result.succeeded += 1
            continue
        answer = project.upsert(user)
        if isinstance(answer, Failure):
            result.fail(user, _list_of(answer, user, _USER_LISTS))
        else:
            result.succeeded += 1
    return result.answer(created=types)


def track_events(project: Project, body: Mapping[str, Any], received_at: int) -> bytes | Failure:
    events = body["events"]
    types = project.event_types.read(*(event.get("dataFields") or {} for event in events))
    if isinstance(types, Failure):
        return types
    result = _Result(_OF_EVENTS)
    disallowed: list[str] = []
    for event in events:
        invalid = _invalid(event)
        if invalid is not None:
            result.fail(event, invalid)
        elif project.is_disallowed(event["eventName"]):
            result.failed += 1
            disallowed.append(event["eventName"])
        else:
            answer = project.track(event, received_at)
            if isinstance(answer, Failure):
                result.fail(event, _list_of(answer, event, _EVENT_LISTS))
            else:
                result.succeeded += 1
    return result.answer(created=types, disallowedEventNames=sorted(set(disallowed)))


class _Result:
    def __init__(self, lists: tuple[str, ...]) -> None:
        self.succeeded = 0
        self.failed = 0
        self._lists: dict[str, list[str]] = {name: [] for name in lists}

    def fail(self, entry: Mapping[str, Any], name: str) -> None:
        self.failed += 1
        if name == "invalidDataEmails":
            self._lists[name].append(entry["dataFields"]["email"])
        else:
            self._lists[name].append(entry["email" if name.endswith("Emails") and "email" in entry else "userId"])

    def answer(self, *, created: Mapping[str, str], **more: Any) -> bytes:
        return orjson.dumps(
            {
                "successCount": self.succeeded,
                "failCount": self.failed,
                "createdFields": sorted(created),
                "filteredOutFields": [],
                "invalidEmails": self._lists["invalidEmails"],
                "invalidUserIds": self._lists["invalidUserIds"],
                "failedUpdates": self._lists,
                **more,
            }
        )


def _invalid(entry: Mapping[str, Any]) -> str | None:
    if "email" in entry and not is_email(entry["email"]):
        return "invalidEmails"
    if "userId" in entry and not is_user_id(entry["userId"]):
        return "invalidUserIds"
    return None


def _invalid_data_email(project: Project, user: Mapping[str, Any]) -> str | None:
    fields = user.get("dataFields") or {}
    if "email" not in fields:
        return None
    email = fields["email"]
    if not is_email(email):
        return "invalidDataEmails"
    another = "email" in user and email.lower() != user["email"].lower()
    return "invalidDataEmails" if another and project.project_type == "email" else None


def _list_of(failure: Failure, entry: Mapping[str, Any], lists: Mapping[str, str]) -> str:
    if failure.code == "ForgottenUserError":
        return "forgottenEmails" if "email" in entry else "forgottenUserIds"
    return lists[failure.code]
