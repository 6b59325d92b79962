"""Requests by which Iterable forgets a user, or deletes one.

Forgetting is for good: Iterable refuses the user's data from then on. A deleted user may come back with the next call.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

from engage_sync.destinations.iterable.identity import email_of, user_id_of
from engage_sync.destinations.iterable.settings import ProjectType
from engage_sync.destinations.protocol import Refused, Request

USERS_FORGET: Final = "/api/users/forget"


def forget(*, email: Any = None, user_id: Any = None) -> Request | Refused:
    """Forget the user with this email; without one, the users with this userId."""
    address, identifier = email_of(email), user_id_of(user_id)
    if address is not None:
        return Request(method="POST", path=USERS_FORGET, body={"email": address}, budget="forget")
    if identifier is not None:
        return Request(method="POST", path=USERS_FORGET, body={"userId": identifier}, budget="forget")
    return _nobody()


def delete(*, email: Any = None, user_id: Any = None, project_type: ProjectType = "email") -> Request | Refused:
    """Delete the user with this email, which userId projects can't look up; otherwise all users with this userId."""
    address, identifier = email_of(email), user_id_of(user_id)
    if address is not None and project_type != "user_id":
        return _delete(f"/api/users/{quote(address, safe='')}")
    if identifier is not None:
        return _delete(f"/api/users/byUserId/{quote(identifier, safe='')}")
    return _nobody()


def _delete(path: str) -> Request:
    return Request(method="DELETE", path=path, body={}, budget="other")


def _nobody() -> Refused:
    return Refused(reason="neither an email nor a userId that Iterable finds a user by", field="userId")
