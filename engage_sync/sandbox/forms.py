"""Is this a body that the endpoint takes? Knows nothing of what is stored.

`check` collects everything wrong in one body. A wrong JSON type or a missing field is BadJsonBody and a field that
the endpoint doesn't know is BadParams, both with `params` from JSON path to message; then come emails and userIds with
codes of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from engage_sync.sandbox import checks
from engage_sync.sandbox.answers import Failure, bad_params
from engage_sync.sandbox.checks import Check, Findings, is_email, is_user_id
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
    ProjectType,
)

__all__ = ["MAX_ENTRIES", "check", "is_email", "is_user_id"]

MAX_ENTRIES: Final = 1_000


def check(path: str, body: object, *, project_type: ProjectType = "email", strict_dates: bool = True) -> Failure | None:
    """What is wrong with `body` as a POST to `path`, or None. A path that isn't an endpoint raises KeyError."""
    form = _FORMS[path]
    if not isinstance(body, dict):
        message = "Object value expected"
        return Failure(status=400, code="BadJsonBody", message=f"obj: {message}", params={"obj": message})
    findings = Findings(strict_dates=strict_dates)
    _check_object(body, "obj", findings, form)
    return findings.failure() or _check_whole(path, body, project_type)


def _check_object(value: Mapping[str, Any], path: str, findings: Findings, form: _Form) -> None:
    for name, found in value.items():
        checker = form.fields.get(name)
        if checker is None:
            findings.params[f"{path}.{name}"] = f"Unknown field; known: {', '.join(form.fields)}"
        else:
            checker(found, f"{path}.{name}", findings)
    for name in form.required:
        if name not in value:
            findings.json[f"{path}.{name}"] = "Field is required"
    if form.identified and "email" not in value and "userId" not in value:
        findings.params[path] = "Either email or userId is required"


def _check_whole(path: str, body: Mapping[str, Any], project_type: ProjectType) -> Failure | None:
    entries = body.get("users", body.get("events"))
    if path in (BULK_UPDATE, TRACK_BULK) and entries is not None:
        if len(entries) > MAX_ENTRIES:
            return Failure(status=413, code="BatchTooLarge", message=f"More than {MAX_ENTRIES} entries")
        return None
    if path == USERS_MERGE:
        for side in ("source", "destination"):
            if f"{side}Email" not in body and f"{side}UserId" not in body:
                return bad_params(f"Either {side}Email or {side}UserId is required")
    if path == UPDATE_EMAIL:
        if project_type != "email":
            return bad_params("users/updateEmail is for projects that tell users apart by email")
        if "currentEmail" not in body and "currentUserId" not in body:
            return bad_params("Either currentEmail or currentUserId is required")
    user = body.get("user", body) if path in (TRACK_PURCHASE, UPDATE_CART) else body
    if path != EVENTS_TRACK and project_type == "email" and "email" in user:
        repeated = (user.get("dataFields") or {}).get("email")
        if isinstance(repeated, str) and repeated.lower() != user["email"].lower():
            return bad_params("dataFields.email is another than the user's; an email changes by users/updateEmail")
    return None


def _user(value: Any, path: str, findings: Findings) -> None:
    if not isinstance(value, dict):
        findings.json[path] = "Object value expected"
    else:
        _check_object(value, path, findings, _USER)


def _entries(form: _Form) -> Check:
    """A list of objects; emails and userIds in them are looked at one by one, as each may fail for itself."""

    def check_entries(value: Any, path: str, findings: Findings) -> None:
        checks.objects(value, path, findings)
        for index, entry in enumerate(value if isinstance(value, list) else ()):
            if isinstance(entry, dict):
                _check_object(entry, f"{path}[{index}]", findings, form)

    return check_entries


@dataclass(frozen=True, kw_only=True, slots=True)
class _Form:
    """The fields that an object may have, those it must have, and whether it names a user."""

    fields: Mapping[str, Check]
    required: tuple[str, ...] = ()
    identified: bool = False


_USER: Final = _Form(
    fields={
        "email": checks.email,
        "userId": checks.user_id,
        "dataFields": checks.profile_fields,
        "mergeNestedObjects": checks.boolean,
        "preferUserId": checks.boolean,
    },
    identified=True,
)
_BULK_USER: Final = _Form(
    fields={
        **_USER.fields,
        "email": checks.string,
        "userId": checks.string,
        "dataFields": checks.bulk_profile_fields,
    },
    identified=True,
)
_ITEM: Final = _Form(
    fields={
        "id": checks.full_string,
        "name": checks.full_string,
        "price": checks.number,
        "quantity": checks.whole(checks.INT64),
        "sku": checks.string,
        "description": checks.string,
        "url": checks.string,
        "imageUrl": checks.string,
        "categories": checks.strings,
        "dataFields": checks.data_fields,
    },
    required=("id", "name", "price", "quantity"),
)
_EVENT: Final = _Form(
    fields={
        "email": checks.email,
        "userId": checks.user_id,
        "eventName": checks.full_string,
        "id": checks.identifier,
        "createdAt": checks.created_at,
        "dataFields": checks.data_fields,
        "campaignId": checks.whole(checks.INT64),
        "templateId": checks.whole(checks.INT64),
        "createNewFields": checks.boolean,
    },
    required=("eventName",),
    identified=True,
)
_BULK_EVENT: Final = _Form(
    fields={**_EVENT.fields, "email": checks.string, "userId": checks.string},
    required=("eventName",),
    identified=True,
)
_FORMS: Final[Mapping[str, _Form]] = {
    USERS_UPDATE: _Form(fields={**_USER.fields, "createNewFields": checks.boolean}, identified=True),
    UPDATE_EMAIL: _Form(
        fields={"currentEmail": checks.email, "currentUserId": checks.user_id, "newEmail": checks.email},
        required=("newEmail",),
    ),
    EVENTS_TRACK: _EVENT,
    TRACK_BULK: _Form(
        fields={"events": _entries(_BULK_EVENT), "createNewFields": checks.boolean}, required=("events",)
    ),
    BULK_UPDATE: _Form(
        fields={"users": _entries(_BULK_USER), "createNewFields": checks.boolean, "updateOnly": checks.boolean},
        required=("users",),
    ),
    USERS_FORGET: _Form(fields={"email": checks.email, "userId": checks.user_id}, identified=True),
    USERS_MERGE: _Form(
        fields={
            "sourceEmail": checks.email,
            "sourceUserId": checks.user_id,
            "destinationEmail": checks.email,
            "destinationUserId": checks.user_id,
            "arrayMerge": checks.objects,
        }
    ),
    TRACK_PURCHASE: _Form(
        fields={
            "id": checks.identifier,
            "user": _user,
            "items": _entries(_ITEM),
            "total": checks.number,
            "createdAt": checks.created_at,
            "dataFields": checks.data_fields,
            "campaignId": checks.whole(checks.INT32),
            "templateId": checks.whole(checks.INT32),
        },
        required=("user", "items", "total"),
    ),
    UPDATE_CART: _Form(fields={"user": _user, "items": _entries(_ITEM)}, required=("user", "items")),
}
