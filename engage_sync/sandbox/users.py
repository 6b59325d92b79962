"""Who there is, in the three kinds of project.

In an email project users are told apart by email, and several may share a userId; in a user_id project by userId, and
several may share an email; in a hybrid one both are unique. Emails are compared in lower case.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from engage_sync.sandbox.answers import Failure, conflict
from engage_sync.sandbox.options import ProjectType

PLACEHOLDER_HOST: Final = "@placeholder.email"


@dataclass(kw_only=True, slots=True, eq=False)
class User:
    email: str | None
    user_id: str | None
    data_fields: dict[str, Any] = field(default_factory=dict)
    updates: int = 0

    @property
    def placeholder(self) -> bool:
        return self.email is not None and self.email.endswith(PLACEHOLDER_HOST)

    def shown(self) -> dict[str, Any]:
        return {"email": self.email, "userId": self.user_id, "dataFields": self.data_fields, "updates": self.updates}


class Users:
    def __init__(self, project_type: ProjectType) -> None:
        self._project_type = project_type
        self._all: dict[int, User] = {}
        self._by_email: dict[str, list[User]] = {}
        self._by_user_id: dict[str, list[User]] = {}

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[User]:
        return iter(list(self._all.values()))

    def by_email(self, email: str) -> User | None:
        found = self._by_email.get(email.lower())
        return found[0] if found else None

    def by_user_id(self, user_id: str) -> User | None:
        found = self._by_user_id.get(user_id)
        return found[0] if found else None

    def all_by_user_id(self, user_id: str) -> list[User]:
        return list(self._by_user_id.get(user_id, ()))

    def find(self, who: Mapping[str, Any]) -> User | None:
        """The user that `email` and `userId` of a request mean, without making one."""
        email, user_id = who.get("email"), who.get("userId")
        if self._project_type == "user_id" and user_id is not None:
            return self.by_user_id(user_id)
        if email is not None:
            return self.by_email(email)
        return self.by_user_id(user_id) if user_id is not None else None

    def find_or_add(self, who: Mapping[str, Any]) -> User | Failure:
        """The user that an upsert means, with its email and userId brought up to date."""
        email, user_id = who.get("email"), who.get("userId")
        if self._project_type == "email":
            return self._in_email_project(email, user_id, prefer_user_id=who.get("preferUserId") is True)
        if self._project_type == "user_id":
            return self._in_user_id_project(email, user_id)
        return self._in_hybrid_project(email, user_id)

    def email_is_taken(self, email: str, user: User | None) -> bool:
        """Whether somebody else than `user` has an email that only one may have."""
        holder = self.by_email(email)
        return self._project_type != "user_id" and holder is not None and holder is not user

    def change_email(self, user: User, email: str) -> None:
        self._set(user, email, user.user_id)

    def remove(self, user: User) -> None:
        self._set(user, None, None)
        del self._all[id(user)]

    def _in_email_project(self, email: str | None, user_id: str | None, *, prefer_user_id: bool) -> User | Failure:
        known = self.by_user_id(user_id) if user_id is not None else None
        if email is None:
            if known is not None:
                return known
            if not prefer_user_id:
                return unknown_user_id()
            return self._add(_placeholder(user_id or ""), user_id)
        user = self.by_email(email)
        if user is None:
            # A user made by userId alone gets a real email with the first one that comes.
            user = known if known is not None and known.placeholder else self._add(email, user_id)
        self._set(user, email, user_id if user_id is not None else user.user_id)
        return user

    def _in_user_id_project(self, email: str | None, user_id: str | None) -> User | Failure:
        user = self.find({"email": email, "userId": user_id})
        if user is None:
            if user_id is None:
                return unknown_email()
            user = self._add(email, user_id)
        self._set(user, email if email is not None else user.email, user.user_id)
        return user

    def _in_hybrid_project(self, email: str | None, user_id: str | None) -> User | Failure:
        by_email = self.by_email(email) if email is not None else None
        by_user_id = self.by_user_id(user_id) if user_id is not None else None
        if by_user_id is not None and email is not None and by_user_id is not by_email and by_user_id.email:
            return conflict("UserIdAlreadyExists", "The userId belongs to a user with another email")
        if by_email is not None and user_id is not None and by_email.user_id not in (None, user_id):
            return conflict("ExternalKeyConflict", "The email belongs to a user with another userId")
        user = by_email or by_user_id or self._add(email, user_id)
        self._set(user, email or user.email, user_id or user.user_id)
        return user

    def _add(self, email: str | None, user_id: str | None) -> User:
        user = User(email=None, user_id=None)
        self._all[id(user)] = user
        self._set(user, email, user_id)
        return user

    def _set(self, user: User, email: str | None, user_id: str | None) -> None:
        if email != user.email:
            _unlist(self._by_email, user.email.lower() if user.email else None, user)
            user.email = email
            if email is not None:
                self._by_email.setdefault(email.lower(), []).append(user)
        if user_id != user.user_id:
            _unlist(self._by_user_id, user.user_id, user)
            user.user_id = user_id
            if user_id is not None:
                self._by_user_id.setdefault(user_id, []).append(user)


def unknown_user_id() -> Failure:
    return Failure(
        status=400, code="UnknownUserIdError", message="No user has this userId; without an email, set preferUserId"
    )


def unknown_email() -> Failure:
    return Failure(status=400, code="UnknownEmailError", message="No user has this email")


def merged(old: Mapping[str, Any], new: Mapping[str, Any], *, nested: bool) -> dict[str, Any]:
    """Data fields after an update: null clears; objects are replaced, or merged where `nested`."""
    result = dict(old)
    for name, value in new.items():
        before = result.get(name)
        if value is None:
            result.pop(name, None)
        elif nested and isinstance(value, dict) and isinstance(before, dict):
            result[name] = merged(before, value, nested=True)
        else:
            result[name] = value
    return result


def _placeholder(user_id: str) -> str:
    return hashlib.sha256(user_id.encode()).hexdigest()[:32] + PLACEHOLDER_HOST


def _unlist(index: dict[str, list[User]], key: str | None, user: User) -> None:
    if key is None:
        return
    listed = index[key]
    listed.remove(user)
    if not listed:
        del index[key]
