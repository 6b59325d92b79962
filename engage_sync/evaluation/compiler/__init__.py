"""The one compiler from a definition to SQL, for all its callers.

    compile_evaluation(tree, …) → Evaluation(sql, parameters): rows (profile_id, value jsonb)

An audience gives one row a member, with the value true; a computed trait one row a profile that has a value. With
`scope=Scope.ALL` everyone is evaluated; with `Scope.PROFILES` those in the parameter `profiles`. The instant is the
parameter `as_of`. Pure: reads no database and no clock; names of definitions come with the catalog.

How the statement is put together. Each stream with its reducer (a "leaf") becomes a grouped subselect over `events`;
leaves over the same event share one pass where the window of one holds the others. A person comes from the leaves that
the expression can't be true without; where there are none, from any leaf; where even nothing may be true, from
`profiles`. Modules, each on top of those before: events (what is read), reducers (to one value), conditions (what is
asked), sources (one pass over events), statement (of whom); beside it edges (of dates), and for `explain` matches (the
events behind a value), turns (when it may change) and supposing (what it would be if others said something else).

A definition of accounts is the same statement of accounts instead of people (subjects): its events are those of an
account's users, ANY and ALL are the statement of people inside them, counted by account. What it says of an account is
then said of each of its users: rows are (profile_id, value) again; but with `Scope.ACCOUNTS`, where rows (account_id,
value) are what it says of the accounts in the parameter `accounts`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from engage_sync.definitions.language import tree
from engage_sync.evaluation.compiler import edges, subjects, supposing, turns
from engage_sync.evaluation.compiler.matches import Matches, compile_matches
from engage_sync.evaluation.compiler.statement import Evaluation, compile_statement, render
from engage_sync.evaluation.compiler.subjects import Scope

__all__ = [
    "Evaluation",
    "Matches",
    "Scope",
    "compile_as_if",
    "compile_edges",
    "compile_evaluation",
    "compile_first_change",
    "compile_matches",
    "compile_negative",
    "compile_turns",
    "compile_users",
]


def compile_evaluation(
    definition: tree.Node,
    *,
    include_anonymous: bool,
    scope: Scope,
    catalog: Mapping[str, int],
    since: datetime | None = None,
) -> Evaluation:
    """Compile a checked definition. `catalog` maps the keys of all definitions to their ids, for `trait('key')`.

    `since`: events before this instant don't count.
    """
    return compile_statement(
        definition,
        include_anonymous=include_anonymous,
        scope=scope,
        catalog=catalog,
        since=since,
    )


def compile_edges(definition: tree.Node, *, scope: Scope, catalog: Mapping[str, int]) -> Evaluation | None:
    """Compile the next edges of dates: rows (profile_id, at). None where the definition compares no date with now."""
    statement = edges.select_edges(definition, scope=scope, catalog=catalog)
    return None if statement is None else render(statement)


def compile_turns(definition: tree.Node, *, catalog: Mapping[str, int]) -> Evaluation | None:
    """Compile when time alone may change what is said of some people: rows (at) after as_of, ascending and distinct.

    Parameters beside `profiles` (of accounts, `accounts` and their users): `until` and `limit`. None where nothing ever
    crosses an edge.
    """
    statement = turns.select_turns(definition, catalog=catalog)
    return None if statement is None else render(statement)


def compile_first_change(evaluation: Evaluation) -> Evaluation:
    """Compile the first of the parameter `instants` at which anybody's value isn't that of `before`.

    `evaluation` is one of some people or accounts, `before` the text of an object of values by their ids. At most one
    row (at, changed, said): the values of those who changed, null where there is none; and everybody's, as `before`.
    """
    return turns.over_instants(evaluation)


def compile_negative(event: str, reference: tree.EventField) -> Evaluation:
    """Compile whether any value in some people's events is a number below 0: a row, or none."""
    return render(turns.select_negative(event, reference))


def compile_users(*, include_anonymous: bool) -> Evaluation:
    """Compile who counts in the accounts of some people: rows (account_id, profile_id)."""
    return render(subjects.select_users(include_anonymous=include_anonymous))


def compile_as_if(statement: Evaluation, snapshots: Evaluation) -> Evaluation:
    """Compile a statement as if definitions said what `snapshots` gives: rows (profile_id, definition_id, value).

    They may be read from the live snapshots in part. Whatever was compiled may be asked so; its columns stay.
    """
    return supposing.as_if(statement, snapshots)
