"""Why a definition says what it says of one person, and when that will change by itself.

Reads events, traits and snapshots through the compiler, in the caller's transaction; writes nothing. Everything that
comes out is plain data, ready for JSON: nodes of the query with their values (expressions), the events behind an
aggregate (streams), how ANY and ALL decided (users), each account of a person (accounts), the next change by time alone
(turning), also of what it refers to (chain).
"""

from engage_sync.evaluation.explain.accounts import explain_accounts
from engage_sync.evaluation.explain.chain import Link, next_change_together
from engage_sync.evaluation.explain.expressions import explain_expressions
from engage_sync.evaluation.explain.question import Question, users_of
from engage_sync.evaluation.explain.turning import next_change
from engage_sync.evaluation.explain.who import Who

__all__ = [
    "Link",
    "Question",
    "Who",
    "explain_accounts",
    "explain_expressions",
    "next_change",
    "next_change_together",
    "users_of",
]
