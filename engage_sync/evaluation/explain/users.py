"""How ANY and ALL decided: of how many of an account's users it holds, and why, of those who decided it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection

from engage_sync.definitions.language import tree
from engage_sync.evaluation.explain.question import Question
from engage_sync.evaluation.explain.who import Who

# Of so many users all expressions are shown: each has its events. Tests look at all.
SHOWN = 3

Explain = Callable[[Connection, Question], dict[str, Any]]


class Users:
    """Answers for one question about one account."""

    def __init__(self, connection: Connection, question: Question) -> None:
        self._connection = connection
        self._question = question

    def behind(self, node: tree.AnyUser | tree.AllUsers, explain: Explain) -> dict[str, Any]:
        """`{"users", "met", "shown"}`; those who are shown have "user", "value" and "expression".

        First the person that is asked about, then those who decide: of whom it holds for ANY, of whom it doesn't for
        ALL.
        """
        asked = replace(self._question, definition=node.operand, accounts=None)
        met = asked.values(self._connection, node.operand).keys() & set(asked.people)
        decides = isinstance(node, tree.AnyUser)
        order = sorted(asked.people, key=lambda user: (user != asked.first, (user in met) is not decides, user))
        shown = order[:SHOWN]
        who = Who(self._connection)
        who.load(shown)
        return {
            "users": len(asked.people),
            "met": len(met),
            "shown": [
                {
                    "user": who.is_called(user),
                    "value": user in met,
                    "expression": explain(self._connection, replace(asked, people=(user,))),
                }
                for user in shown
            ],
        }
