"""The query language of audiences and computed traits: text in, typed tree out.

Reads nothing and writes nothing: a query's text goes through tokens (tokens.py, missing.py), the grammar (grammar.lark,
syntax.py), the typed tree (build.py, tree.py) and its types (check.py). `parse` tells of all problems at once, each
with a line and a column within the text, and raises nothing but `QueryInvalid`.
"""

from __future__ import annotations

from dataclasses import replace

from engage_sync import errors
from engage_sync.definitions.language import tree
from engage_sync.definitions.language.build import build
from engage_sync.definitions.language.check import Kind, check_kind, check_tree, check_users, not_yet_computed
from engage_sync.definitions.language.describe import describe
from engage_sync.definitions.language.lookback import is_lookback
from engage_sync.definitions.language.problems import Problems
from engage_sync.definitions.language.syntax import parse_syntax
from engage_sync.definitions.language.tree import Definition, Position
from engage_sync.definitions.language.walk import event_names, mapped, references, walk

__all__ = [
    "Definition",
    "Kind",
    "Position",
    "describe",
    "event_names",
    "is_lookback",
    "parse",
    "references",
    "tree",
    "walk",
]


def parse(query: str, *, kind: Kind, of_accounts: bool = False, allow_uncomputed: bool = False) -> Definition:
    """The typed tree of an audience's condition or a computed trait's value, of people or (`of_accounts`) of accounts.

    `allow_uncomputed` takes what the language has but nothing evaluates (entities; ANY and ALL out of place).
    Raises `QueryInvalid` with every problem found.
    """
    problems = Problems()
    syntax = parse_syntax(query, problems)
    built = None if syntax is None else build(syntax, problems)
    definition = None if built is None else check_kind(built, kind, problems)
    if definition is not None:
        check_tree(definition, problems)
        if not allow_uncomputed:
            not_yet_computed(definition, problems)
            check_users(definition, of_accounts, problems)
    if problems or definition is None:
        raise errors.QueryInvalid(problems.sorted())
    return _of_accounts(definition) if of_accounts else definition


def _of_accounts(definition: Definition) -> Definition:
    """The same, asked of accounts: trait() is the account's where it isn't one user's."""
    assert not isinstance(definition, tree.SqlRows | tree.OfAccounts)
    of_users = (tree.AnyUser, tree.AllUsers)
    asked = mapped(definition, lambda reference: replace(reference, of_account=True), unless=of_users)
    return tree.OfAccounts(of=asked, position=definition.position)
