"""Of whom a statement speaks: of people, or of accounts; by which column, and where their facts are.

An account's users are its members who count: known ones, or all where a definition includes anonymous people. Its
events are its users' events, as one stream. Rules: docs/decisions/0014-accounts.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, Select, Subquery, Table, bindparam, func, select
from sqlalchemy.dialects.postgresql import ARRAY, distinct_on

from engage_sync.database import tables
from engage_sync.definitions.language import tree
from engage_sync.evaluation.compiler.events import Event
from engage_sync.evaluation.operands import Condition

PROFILES = bindparam("profiles", type_=ARRAY(BigInteger))
ACCOUNTS = bindparam("accounts", type_=ARRAY(BigInteger))
_OF_EVENTS = ("name", "timestamp", "id", "source_id", "properties", "context")
_OF_CALLS = ("profile_id", "message_id")


class Scope(StrEnum):
    """Everybody; those in the parameter `profiles`, or their accounts; or the accounts in the parameter `accounts`."""

    ALL = "all"
    PROFILES = "profiles"
    ACCOUNTS = "accounts"


@dataclass(frozen=True, kw_only=True, slots=True)
class People:
    """`among`: where it isn't everybody, the ids of those who are evaluated."""

    scope: Scope
    include_anonymous: bool
    among: Any = PROFILES

    @property
    def key(self) -> str:
        return "profile_id"

    def events(self, name: str, *, with_call: bool = False) -> Event:
        """Their events, under a name of the statement's own; `with_call`: with who made which call."""
        return Event(rows=tables.events.alias(name))

    def everybody(self) -> Subquery:
        """One row (id) for each that comes into question."""
        profile = tables.profiles.alias("profile")
        asked: list[Condition] = [] if self.include_anonymous else [profile.c.is_known]
        if self.scope is not Scope.ALL:
            asked.append(profile.c.id == func.any(self.among))
        return select(profile.c.id).where(*asked).subquery("person")


@dataclass(frozen=True, kw_only=True, slots=True)
class Accounts:
    """In scope PROFILES the accounts of those profiles, in scope ACCOUNTS those that are named."""

    scope: Scope
    include_anonymous: bool

    @property
    def key(self) -> str:
        return "account_id"

    @property
    def among(self) -> Any:
        if self.scope is Scope.ACCOUNTS:
            return ACCOUNTS
        mine = tables.account_members.alias("mine")
        concerned = select(mine.c.account_id).distinct().where(mine.c.profile_id == func.any(PROFILES))
        return func.array(concerned.scalar_subquery())

    def events(self, name: str, *, with_call: bool = False) -> Event:
        """Their users' events; see People."""
        user, event = self.users("user_"), tables.events.alias("theirs")
        read = [event.c[column] for column in (*_OF_EVENTS, *(_OF_CALLS if with_call else ()))]
        pool = select(user.c.account_id, *read).select_from(user.join(event, event.c.profile_id == user.c.profile_id))
        return Event(rows=pool.subquery(name), key=self.key)

    def everybody(self) -> Subquery:
        account = tables.accounts.alias("account")
        found = select(account.c.id)
        if self.scope is not Scope.ALL:
            found = found.where(account.c.id == func.any(self.among))
        return found.subquery("account")

    def users(self, name: str) -> Subquery:
        """One row (account_id, profile_id) for each user of an account."""
        return self._members()[1].subquery(name)

    def each_user(self) -> People:
        """The people of whom ANY and ALL ask."""
        mine, theirs = tables.account_members.alias("mine"), tables.account_members.alias("theirs")
        peers = select(theirs.c.profile_id).distinct()
        if self.scope is Scope.ACCOUNTS:
            peers = peers.where(theirs.c.account_id == func.any(ACCOUNTS))
        else:
            peers = peers.join_from(mine, theirs, theirs.c.account_id == mine.c.account_id)
            peers = peers.where(mine.c.profile_id == func.any(PROFILES))
        among = func.array(peers.scalar_subquery())
        return People(scope=self.scope, include_anonymous=self.include_anonymous, among=among)

    def told(self, name: str, *, newest: bool) -> Subquery:
        """One row (account_id, profile_id) for each user in scope and account; or of each only the `newest` account."""
        member, found = self._members()
        if self.scope is Scope.PROFILES:
            found = found.where(member.c.profile_id == func.any(PROFILES))
        if newest:
            order = (member.c.profile_id, member.c.timestamp.desc(), member.c.account_id)
            found = found.ext(distinct_on(member.c.profile_id)).order_by(*order)
        return found.subquery(name)

    def _members(self) -> tuple[Any, Select[Any]]:
        member = tables.account_members.alias("member")
        found = select(member.c.account_id, member.c.profile_id)
        if self.include_anonymous:
            return member, found
        profile = tables.profiles.alias("profile")
        return member, found.join(profile, profile.c.id == member.c.profile_id).where(profile.c.is_known)


Subject = People | Accounts


def select_users(*, include_anonymous: bool) -> Select[Any]:
    """Rows (account_id, profile_id): the users of all accounts of the people in the parameter `profiles`."""
    accounts = Accounts(scope=Scope.PROFILES, include_anonymous=include_anonymous)
    user = accounts.users("user_")
    return select(user.c.account_id, user.c.profile_id).where(user.c.account_id == func.any(accounts.among))


def table_of(reference: tree.TraitRef, catalog: Mapping[str, int]) -> tuple[Table, Condition, Any]:
    """Where a trait lies, the condition that finds it there, and the column of whose it is.

    That is a trait that was sent, of a person or an account; or what another definition says of a person.
    """
    root = reference.path[0]
    if reference.of_account:
        table = tables.account_traits
        return table, table.c.name == root, table.c.account_id
    definition_id = catalog.get(root)
    if definition_id is None:
        return tables.traits, tables.traits.c.name == root, tables.traits.c.profile_id
    snapshots = tables.snapshots
    return snapshots, snapshots.c.definition_id == definition_id, snapshots.c.profile_id
