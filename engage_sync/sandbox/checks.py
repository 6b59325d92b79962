"""Is this one value what its field takes? Each check adds what is wrong to the findings, by JSON path."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from engage_sync.sandbox.answers import Failure
from engage_sync.sandbox.fields import check_fields

MAX_ID_BYTES: Final = 512
MAX_USER_ID: Final = 52
# Whole seconds up to the year 2200; the same instants in milliseconds are far above.
MAX_CREATED_AT: Final = 7_258_118_400

INT32: Final = 2**31
INT64: Final = 2**63
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


def string(value: Any, path: str, findings: Findings) -> None:
    if not isinstance(value, str):
        findings.json[path] = "String value expected"


def full_string(value: Any, path: str, findings: Findings) -> None:
    string(value, path, findings)
    if isinstance(value, str) and not value.strip():
        findings.params[path] = "Must not be empty"


def boolean(value: Any, path: str, findings: Findings) -> None:
    if not isinstance(value, bool):
        findings.json[path] = "Boolean value expected"


def number(value: Any, path: str, findings: Findings) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        findings.json[path] = "Number value expected"


def whole(limit: int) -> Check:
    def check_whole(value: Any, path: str, findings: Findings) -> None:
        if isinstance(value, bool) or not isinstance(value, int):
            findings.json[path] = "Number value expected"
        elif not -limit <= value < limit:
            findings.json[path] = "Number out of range"

    return check_whole


def created_at(value: Any, path: str, findings: Findings) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        findings.json[path] = "Number value expected"
    elif not 0 <= value < MAX_CREATED_AT:
        findings.params[path] = "Must be whole seconds since 1970 (milliseconds?)"


def identifier(value: Any, path: str, findings: Findings) -> None:
    full_string(value, path, findings)
    if isinstance(value, str) and len(value.encode()) > MAX_ID_BYTES:
        findings.params[path] = f"Must be at most {MAX_ID_BYTES} bytes"


def email(value: Any, path: str, findings: Findings) -> None:
    if not isinstance(value, str):
        findings.json[path] = "String value expected"
    elif not is_email(value):
        findings.emails[path] = "Invalid email address"


def user_id(value: Any, path: str, findings: Findings) -> None:
    if not isinstance(value, str):
        findings.json[path] = "String value expected"
    elif not is_user_id(value):
        findings.user_ids[path] = f"Must be 1 to {MAX_USER_ID} printable ASCII characters without a space at the end"


def data_fields(value: Any, path: str, findings: Findings) -> None:
    if not isinstance(value, dict):
        findings.json[path] = "Object value expected"
    else:
        check_fields(value, path, findings.params, strict_dates=findings.strict_dates)


def profile_fields(value: Any, path: str, findings: Findings) -> None:
    bulk_profile_fields(value, path, findings)
    if isinstance(value, dict) and "email" in value:
        email(value["email"], f"{path}.email", findings)


def bulk_profile_fields(value: Any, path: str, findings: Findings) -> None:
    """As of one user, but an email in them is looked at entry by entry."""
    data_fields(value, path, findings)
    if not isinstance(value, dict):
        return
    for name in MANAGED.intersection(value):
        findings.params[f"{path}.{name}"] = "Written by Iterable itself"
    if value.get("phoneNumber") is not None:
        string(value["phoneNumber"], f"{path}.phoneNumber", findings)


def strings(value: Any, path: str, findings: Findings) -> None:
    if not isinstance(value, list):
        findings.json[path] = "Array value expected"
        return
    for index, item in enumerate(value):
        string(item, f"{path}[{index}]", findings)


def objects(value: Any, path: str, findings: Findings) -> None:
    if not isinstance(value, list):
        findings.json[path] = "Array value expected"
        return
    for index, item in enumerate(value):
        if not isinstance(item, dict):
            findings.json[f"{path}[{index}]"] = "Object value expected"
