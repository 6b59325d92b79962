"""How users go: forgotten for good, deleted, or merged into another.

Iterable does this some time after its answer; here it is done at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from engage_sync.sandbox.answers import Failure, bad_params, success
from engage_sync.sandbox.users import User, unknown_email, unknown_user_id

if TYPE_CHECKING:
    from engage_sync.sandbox.project import Project


class Forgotten:
    """The emails (in any case) and userIds that take no data any more."""

    def __init__(self) -> None:
        self._emails: set[str] = set()
        self._user_ids: set[str] = set()

    def add(self, email: str | None, user_id: str | None) -> None:
        if email is not None:
            self._emails.add(email.lower())
        if user_id is not None:
            self._user_ids.add(user_id)

    def has(self, who: Mapping[str, Any]) -> bool:
        """Whether the `email` or the `userId` of a request is forgotten."""
        return str(who.get("email", "")).lower() in self._emails or who.get("userId") in self._user_ids


def forget(project: Project, body: Mapping[str, Any], received_at: int) -> bytes | Failure:
    """Also takes who is unknown: data that is on its way must not make a user again."""
    email, user_id = body.get("email"), None if "email" in body else body.get("userId")
    project.forgotten.add(email, user_id)
    found = project.users.by_email(email) if email is not None else None
    for user in [found] if found is not None else project.users.all_by_user_id(user_id or ""):
        project.forgotten.add(user.email, user.user_id)
        _remove(project, user)
    return success()


def delete(project: Project, *, email: str | None = None, user_id: str | None = None) -> bytes | Failure:
    """One user by email, or every user with a userId. A later call may make them again."""
    if email is not None and project.project_type == "user_id":
        return bad_params("Projects that tell users apart by userId delete by userId")
    found = [project.users.by_email(email)] if email is not None else project.users.all_by_user_id(user_id or "")
    users = [user for user in found if user is not None]
    if not users:
        return bad_params("No such user")
    for user in users:
        _remove(project, user)
    return success()


def merge(project: Project, body: Mapping[str, Any], received_at: int) -> bytes | Failure:
    """The source's events go to the destination, and those of its fields that this doesn't have; the source goes."""
    source = _side(project, body, "source")
    if isinstance(source, Failure):
        return source
    destination = _side(project, body, "destination")
    if isinstance(destination, Failure):
        return destination
    if source is destination:
        return bad_params("Source and destination are the same user")
    joined = {str(wish.get("field")) for wish in body.get("arrayMerge", ())}
    for name, value in source.data_fields.items():
        own = destination.data_fields.setdefault(name, value)
        if name in joined and own is not value and isinstance(own, list) and isinstance(value, list):
            destination.data_fields[name] = [*own, *(item for item in value if item not in own)]
    project.hand_over_events(source, destination)
    project.users.remove(source)
    return success()


def _side(project: Project, body: Mapping[str, Any], side: str) -> User | Failure:
    email = body.get(f"{side}Email")
    if email is not None:
        return project.users.by_email(email) or unknown_email()
    return project.users.by_user_id(body[f"{side}UserId"]) or unknown_user_id()


def _remove(project: Project, user: User) -> None:
    project.remove_events(user)
    project.users.remove(user)
