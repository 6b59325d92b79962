"""Every expression of a definition with its value for one person, or one account."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson
from sqlalchemy import Connection, text

from engage_sync.database import pipeline
from engage_sync.database.pipeline import Query
from engage_sync.definitions.language import describe, tree
from engage_sync.definitions.language.tree import Comparator
from engage_sync.evaluation.compiler.reducers import is_count
from engage_sync.evaluation.compiler.types import Expected, is_dated, is_ordering
from engage_sync.evaluation.explain.nodes import head, value_document
from engage_sync.evaluation.explain.question import Question
from engage_sync.evaluation.explain.streams import Streams
from engage_sync.evaluation.explain.users import Users

_READS_AS = text(
    """
    SELECT engage_number(CAST(value AS jsonb)) IS NOT NULL AS number,
           engage_instant(CAST(value AS jsonb)) IS NOT NULL AS date
    FROM unnest(CAST(:values AS text[])) WITH ORDINALITY AS asked (value, place) ORDER BY place
    """
)
_TRAITS = text("SELECT name, timestamp FROM traits WHERE profile_id = :profile AND name = ANY(:names)")
_ACCOUNT_TRAITS = text("SELECT name, timestamp FROM account_traits WHERE account_id = :account AND name = ANY(:names)")
_SNAPSHOTS = text(
    "SELECT definition_id, since FROM snapshots WHERE profile_id = :profile AND definition_id = ANY(:definitions)"
)

Evaluated = (
    tree.And | tree.Or | tree.Not | tree.AnyUser | tree.AllUsers | tree.Comparison | tree.Aggregate | tree.TraitRef
)


def explain_expressions(connection: Connection, question: Question) -> dict[str, Any]:
    """The definition as a tree of `{"kind", "text", "position", "value", …}`; the question is about one subject.

    Junctions have "operands", comparisons "left" and "arguments", aggregates "events", traits where they come from, ANY
    and ALL "users", "met" and "shown": how many there are, of how many it holds, and some of them with their own tree.
    """
    nodes = list(dict.fromkeys(_outside_of_streams(question.definition)))
    documents = _Documents(
        question=question,
        values=_values(connection, question, nodes),
        traits=_traits(connection, question, [node for node in nodes if isinstance(node, tree.TraitRef)]),
        streams=Streams(connection, question),
        users=Users(connection, question),
    )
    made = documents.of(question.definition)
    _mark_wrong_types(connection, made)
    return made


class _Documents:
    def __init__(
        self,
        *,
        question: Question,
        values: Mapping[tree.Node, Any],
        traits: Mapping[tree.Node, Mapping[str, Any]],
        streams: Streams,
        users: Users,
    ) -> None:
        self._question = question
        self._values = values
        self._traits = traits
        self._streams = streams
        self._users = users

    def of(self, node: tree.Node) -> dict[str, Any]:
        match node:
            case tree.And() | tree.Or():
                return {**self._head(node), "operands": [self.of(each) for each in node.operands]}
            case tree.Not():
                return {**self._head(node), "operands": [self.of(node.operand)]}
            case tree.AnyUser() | tree.AllUsers():
                return {**self._head(node), **self._users.behind(node, explain_expressions)}
            case tree.Comparison():
                left, arguments = self.of(node.left), [self.of(each) for each in node.arguments]
                return {**self._head(node), "comparator": node.comparator, "left": left, "arguments": arguments}
            case tree.Aggregate():
                return {**self._head(node), "reducer": describe(node.reducer), "events": self._streams.behind(node)}
            case tree.TraitRef():
                return {**self._head(node), **self._traits[node]}
            case _:
                return value_document(node)

    def _head(self, node: Any) -> dict[str, Any]:
        return {**head(node), "value": self._values[node]}


def _outside_of_streams(node: Any) -> Iterator[Evaluated]:
    match node:
        case tree.And() | tree.Or():
            yield node
            for operand in node.operands:
                yield from _outside_of_streams(operand)
        case tree.Not():
            yield node
            yield from _outside_of_streams(node.operand)
        case tree.Comparison():
            yield node
            for value in (node.left, *node.arguments):
                yield from _outside_of_streams(value)
        case tree.Aggregate() | tree.TraitRef() | tree.AnyUser() | tree.AllUsers():
            # What is asked inside of these is asked of each user.
            yield node
        case _:
            return


def _values(connection: Connection, question: Question, nodes: list[Evaluated]) -> dict[tree.Node, Any]:
    """What each says of the subject: true or false, a value, or None for an absent one."""
    evaluations = [question.evaluation(node) for node in nodes]
    queries = [Query(each.sql, question.arguments(each), list) for each in evaluations]
    found = pipeline.ask_each(connection, queries)
    return {node: rows[0][1] if rows else _of_nothing(node) for node, rows in zip(nodes, found, strict=True)}


def _of_nothing(node: Evaluated) -> Any:
    match node:
        case tree.Aggregate():
            return 0 if is_count(node.reducer) else None
        case tree.TraitRef():
            return None
        case _:
            return False


def _traits(
    connection: Connection, question: Question, references: list[tree.TraitRef]
) -> dict[tree.Node, dict[str, Any]]:
    """Where each trait comes from: another definition, with how long it has said so; or a call, with its timestamp."""
    roots = {reference.path[0] for reference in references}
    if question.accounts is not None:
        of_account = {"account": question.accounts[0], "names": list(roots)}
        set_at = {row.name: row.timestamp for row in connection.execute(_ACCOUNT_TRAITS, of_account)}
        return {each: {"definition": None, "since": set_at.get(each.path[0])} for each in references}
    ids = {question.catalog[root]: root for root in roots if root in question.catalog}
    given = {"profile": question.people[0], "names": list(roots - set(ids.values())), "definitions": list(ids)}
    since = {ids[row.definition_id]: row.since for row in connection.execute(_SNAPSHOTS, given)}
    sent = {row.name: row.timestamp for row in connection.execute(_TRAITS, given)}
    return {
        reference: {"definition": root, "since": since.get(root)}
        if root in question.catalog
        else {"definition": None, "since": sent.get(root)}
        for reference in references
        for root in (reference.path[0],)
    }


def _mark_wrong_types(connection: Connection, made: dict[str, Any]) -> None:
    """Say of values of people that a comparison reads as numbers or dates whether they are: "reads_as" on the value."""
    asked = list(_typed(made))
    if not asked:
        return
    values = [orjson.dumps(document["value"]).decode() for document, _ in asked]
    for (document, expected), row in zip(asked, connection.execute(_READS_AS, {"values": values}), strict=True):
        document["expected"] = expected
        document["is_expected"] = row.number if expected is Expected.NUMBER else row.date


def _typed(document: dict[str, Any]) -> Iterator[tuple[dict[str, Any], Expected]]:
    for operand in document.get("operands", ()):
        yield from _typed(operand)
    if document["kind"] == "comparison":
        comparator = Comparator(document["comparator"])
        for value in (document["left"], *document["arguments"]):
            if value["kind"] in ("trait", "aggregate") and value["value"] is not None:
                if is_ordering(comparator):
                    yield value, Expected.NUMBER
                elif is_dated(comparator):
                    yield value, Expected.DATE
