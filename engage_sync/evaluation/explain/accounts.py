"""A definition of accounts, explained for each account of one person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from engage_sync.definitions.language import tree
from engage_sync.evaluation.explain.chain import Link, next_change_together
from engage_sync.evaluation.explain.expressions import explain_expressions
from engage_sync.evaluation.explain.question import Question, users_of

# Of so many accounts all expressions are shown; of the others, what is said of them.
_SHOWN = 5
# The first is the one whose value a trait is.
_ACCOUNTS = text(
    """
    SELECT accounts.id, accounts.group_id, account_members.timestamp
    FROM account_members JOIN accounts ON accounts.id = account_members.account_id
    WHERE account_members.profile_id = :profile
    ORDER BY account_members.timestamp DESC, accounts.id
    """
)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Account:
    id: int
    group_id: str
    timestamp: datetime
    is_newest: bool
    users: tuple[int, ...]


def explain_accounts(
    connection: Connection, links: Sequence[Link], *, counts: bool, events: int
) -> list[dict[str, Any]]:
    """What the last of the links, a definition of accounts, says of each account of the one person it is asked of.

    `[{"group_id", "timestamp", "is_newest", "users", "value", "is_told", "expression", "next_change"}]`: first those
    whose value the person is told; "expression" and "next_change" (see next_change_together) of the first few, else
    None. `counts`: whether the person is one of the users. `events` is how many events they read.
    """
    asked = links[-1]
    found = _accounts(connection, asked.question)
    all_of_them = asked.question.of_their_accounts(connection)
    said = replace(all_of_them, accounts=tuple(each.id for each in found)).said(connection)
    made = []
    for each in found:
        value = said.get(each.id) is True if asked.is_audience else said.get(each.id)
        made.append((each, value, counts and (value is True if asked.is_audience else each.is_newest)))
    made.sort(key=lambda row: not row[2])
    return [
        {
            "group_id": account.group_id,
            "timestamp": account.timestamp,
            "is_newest": account.is_newest,
            "users": len(account.users),
            "value": value,
            "is_told": is_told,
            **(_explained(connection, links, account, events) if number < _SHOWN else _NOT_SHOWN),
        }
        for number, (account, value, is_told) in enumerate(made)
    ]


_NOT_SHOWN = {"expression": None, "next_change": None}


def _accounts(connection: Connection, question: Question) -> list[_Account]:
    users = users_of(connection, question.people, include_anonymous=question.include_anonymous)
    rows = connection.execute(_ACCOUNTS, {"profile": question.people[0]})
    return [
        _Account(
            id=row.id,
            group_id=row.group_id,
            timestamp=row.timestamp,
            is_newest=number == 0,
            users=tuple(sorted(users.get(row.id, ()))),
        )
        for number, row in enumerate(rows)
    ]


def _explained(connection: Connection, links: Sequence[Link], account: _Account, events: int) -> dict[str, Any]:
    asked = links[-1]
    assert isinstance(asked.question.definition, tree.OfAccounts)
    question = replace(
        asked.question, definition=asked.question.definition.of, accounts=(account.id,), people=account.users
    )
    change, _ = next_change_together(connection, [*links[:-1], replace(asked, question=question)], events=events)
    value = change.pop("said").get(account.id)
    if change["at"] is not None and asked.is_audience:
        value = value is True
    return {"expression": explain_expressions(connection, question), "next_change": {**change, "value": value}}
