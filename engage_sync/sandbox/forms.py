"""Is this a body that the endpoint takes? Knows nothing of what is stored.

`check` collects everything wrong in one body. A wrong JSON type or a missing field is BadJsonBody and a field that
the endpoint doesn't know is BadParams, both with `params` from JSON path to message; then come emails and userIds with
codes of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from engage_sync.sandbox.answers import Failure, bad_params
from engage_sync.sandbox.fields import check_fields
from engage_sync.sandbox.options import (
    EVENTS_TRACK,
    TRACK_PURCHASE,
    UPDATE_CART,
    UPDATE_EMAIL,
    USERS_UPDATE,
    ProjectType,
)

MAX_ID_BYTES: Final = 512
MAX_USER_ID: Final = 52
# Whole seconds up to the year 2200; the same instants in milliseconds are far above.
MAX_CREATED_AT: Final = 7_258_118_400

_INT32: Final = 2**31
_INT64: Final = 2**63
# Iterable writes these fields of a profile itself.
MANAGED: Final = frozenset(
    {"emailListIds", "itblDS", "itblInternal", "itblUserId", "profileUpdatedAt", "signupDate", "signupSource"}
)
_EMAIL_DELIMITERS: Final = frozenset('()<>,;:"[]\\')


@dataclass(kw_only=True, slots=True)
class Findings:
    """What is wrong so far: JSON path → message, by the code that the answer will carry."""

    strict_dates: bool
    json: dict[str, str] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    emails: dict[str, str] = field(default_factory=dict)
    user_ids: dict[str, str] = field(default_factory=dict)

    def failure(self) -> Failure | None:
        for code, problems in (
            ("BadJsonBody", self.json),
            ("BadParams", self.params),
            ("InvalidEmailAddressError", self.emails),
            ("InvalidUserIdError", self.user_ids),
        ):
            if problems:
                path, problem = next(iter(problems.items()))
                return Failure(status=400, code=code, message=f"{path}: {problem}", params=dict(problems))
        return None


Check = Callable[[Any, str, Findings], None]


def check(path: str, body: object, *, project_type: ProjectType = "email", strict_dates: bool = True) -> Failure | None:
    """What is wrong with `body` as a POST to `path`, or None. A path that isn't an endpoint raises KeyError."""
    form = _FORMS[path]
    if not isinstance(body, dict):
        message = "Object value expected"
        return Failure(status=400, code="BadJsonBody", message=f"obj: {message}", params={"obj": message})
    findings = Findings(strict_dates=strict_dates)
    _check_object(body, "obj", findings, form)
    return findings.failure() or _check_whole(path, body, project_type)


def is_email(value: object) -> bool:
    """One @ between a name of up to 64 characters and a host with at least two labels; 254 characters at most."""
    if not isinstance(value, str) or len(value) > 254 or value.count("@") != 1:
        return False
    if any(character.isspace() or not character.isprintable() for character in value):
        return False
    name, host = value.split("@")
    labels = host.split(".")
    return (
        0 < len(name) <= 64
        and _EMAIL_DELIMITERS.isdisjoint(value)
        and len(labels) > 1
        and all(
            label and len(label) <= 63 and label[0] != "-" and label[-1] != "-" and label.replace("-", "").isalnum()
            for label in labels
        )
    )


def is_user_id(value: object) -> bool:
    return (
        isinstance(value, str)
        and 0 < len(value) <= MAX_USER_ID
        and value.isascii()
        and value.isprintable()
        and not value.endswith(" ")
    )


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


# The checks of single values.


def _string(value: Any, path: str, findings: Findings) -> None:
    if not isinstance(value, str):
        findings.json[path] = "String value expected"


def _full_string(value: Any, path: str, findings: Findings) -> None:
    _string(value, path, findings)
    if isinstance(value, str) and not value.strip():
        findings.params[path] = "Must not be empty"


def _boolean(value: Any, path: str, findings: Findings) -> None:
    if not isinstance(value, bool):
        findings.json[path] = "Boolean value expected"


def _number(value: Any, path: str, findings: Findings) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        findings.json[path] = "Number value expected"


def _whole(limit: int) -> Check:
    def check_whole(value: Any, path: str, findings: Findings) -> None:
        if isinstance(value, bool) or not isinstance(value, int):
            findings.json[path] = "Number value expected"
        elif not -limit <= value < limit:
            findings.json[path] = "Number out of range"

    return check_whole


def _created_at(value: Any, path: str, findings: Findings) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        findings.json[path] = "Number value expected"
    elif not 0 <= value < MAX_CREATED_AT:
        findings.params[path] = "Must be whole seconds since 1970 (milliseconds?)"


def _id(value: Any, path: str, findings: Findings) -> None:
    _full_string(value, path, findings)
    if isinstance(value, str) and len(value.encode()) > MAX_ID_BYTES:
        findings.params[path] = f"Must be at most {MAX_ID_BYTES} bytes"


def _email(value: Any, path: str, findings: Findings) -> None:
    if not isinstance(value, str):
        findings.json[path] = "String value expected"
    elif not is_email(value):
        findings.emails[path] = "Invalid email address"


def _user_id(value: Any, path: str, findings: Findings) -> None:
    if not isinstance(value, str):
        findings.json[path] = "String value expected"
    elif not is_user_id(value):
        findings.user_ids[path] = f"Must be 1 to {MAX_USER_ID} printable ASCII characters without a space at the end"


def _data_fields(value: Any, path: str, findings: Findings) -> None:
    if not isinstance(value, dict):
        findings.json[path] = "Object value expected"
    else:
        check_fields(value, path, findings.params, strict_dates=findings.strict_dates)


def _profile_fields(value: Any, path: str, findings: Findings) -> None:
    _data_fields(value, path, findings)
    if not isinstance(value, dict):
        return
    for name in MANAGED.intersection(value):
        findings.params[f"{path}.{name}"] = "Written by Iterable itself"
    if "email" in value:
        _email(value["email"], f"{path}.email", findings)
    if value.get("phoneNumber") is not None:
        _string(value["phoneNumber"], f"{path}.phoneNumber", findings)


def _user(value: Any, path: str, findings: Findings) -> None:
    if not isinstance(value, dict):
        findings.json[path] = "Object value expected"
    else:
        _check_object(value, path, findings, _USER)


def _items(value: Any, path: str, findings: Findings) -> None:
    if not isinstance(value, list):
        findings.json[path] = "Array value expected"
        return
    for index, item in enumerate(value):
        if isinstance(item, dict):
            _check_object(item, f"{path}[{index}]", findings, _ITEM)
        else:
            findings.json[f"{path}[{index}]"] = "Object value expected"


def _strings(value: Any, path: str, findings: Findings) -> None:
    if not isinstance(value, list):
        findings.json[path] = "Array value expected"
        return
    for index, item in enumerate(value):
        _string(item, f"{path}[{index}]", findings)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Form:
    """The fields that an object may have, those it must have, and whether it names a user."""

    fields: Mapping[str, Check]
    required: tuple[str, ...] = ()
    identified: bool = False


_USER: Final = _Form(
    fields={
        "email": _email,
        "userId": _user_id,
        "dataFields": _profile_fields,
        "mergeNestedObjects": _boolean,
        "preferUserId": _boolean,
    },
    identified=True,
)
_ITEM: Final = _Form(
    fields={
        "id": _full_string,
        "name": _full_string,
        "price": _number,
        "quantity": _whole(_INT64),
        "sku": _string,
        "description": _string,
        "url": _string,
        "imageUrl": _string,
        "categories": _strings,
        "dataFields": _data_fields,
    },
    required=("id", "name", "price", "quantity"),
)
_FORMS: Final[Mapping[str, _Form]] = {
    USERS_UPDATE: _Form(fields={**_USER.fields, "createNewFields": _boolean}, identified=True),
    UPDATE_EMAIL: _Form(
        fields={"currentEmail": _email, "currentUserId": _user_id, "newEmail": _email}, required=("newEmail",)
    ),
    EVENTS_TRACK: _Form(
        fields={
            "email": _email,
            "userId": _user_id,
            "eventName": _full_string,
            "id": _id,
            "createdAt": _created_at,
            "dataFields": _data_fields,
            "campaignId": _whole(_INT64),
            "templateId": _whole(_INT64),
            "createNewFields": _boolean,
        },
        required=("eventName",),
        identified=True,
    ),
    TRACK_PURCHASE: _Form(
        fields={
            "id": _id,
            "user": _user,
            "items": _items,
            "total": _number,
            "createdAt": _created_at,
            "dataFields": _data_fields,
            "campaignId": _whole(_INT32),
            "templateId": _whole(_INT32),
        },
        required=("user", "items", "total"),
    ),
    UPDATE_CART: _Form(fields={"user": _user, "items": _items}, required=("user", "items")),
}
