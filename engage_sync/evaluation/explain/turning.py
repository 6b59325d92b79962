"""The first instant at which time alone changes what a definition says of anybody among some people or accounts.

Exact: the definition is evaluated at the instants at which something of theirs crosses an edge, in order, until one
says something else. Traits count as they stand, and so does what other definitions say (chain.py moves them along).
Of what changes but once, the one instant is searched by halves, so that thousands of events leaving a window one by one
cost no evaluation each. Of several subjects, each of which changes but once, that finds the first who does, and from
there on the next.

What a definition of accounts says of people changes only where one of its parts changes for one of their accounts.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from heapq import merge
from itertools import groupby, islice
from typing import Any, NamedTuple

from sqlalchemy import Connection, text

from engage_sync.definitions.language import event_names, tree, walk
from engage_sync.evaluation import dates, evaluator, funnels
from engage_sync.evaluation.compiler import Evaluation, compile_first_change, compile_negative
from engage_sync.evaluation.explain.question import Question
from engage_sync.evaluation.explain.steps import is_one_way, summed

_HORIZON = timedelta(days=3652)
# So many instants of what changes but once are looked through, and so many are evaluated one by one; fewer where each
# has many events to read, and more so where each of these asks what followed it.
_SEARCHED = 200_000
_INSTANTS = 2_000
_FEWEST_INSTANTS = 20
_EVENTS_READ = 3_000_000
_FOLLOWED_COST = 10
# How many instants are looked at in one statement: one at first, as the first edge often is the one.
_FIRST_BATCH = 1
_GROWTH = 4
# Before a search by halves so many are looked at; tests set it lower, as their people have few events.
FIRST_LOOK = 1
# What is said of nobody.
_NOTHING = "{}"

_COUNTED = text(
    """
    SELECT name, count(*) AS events, max(timestamp) > :as_of AS is_coming FROM events
    WHERE profile_id = ANY(CAST(:people AS bigint[])) AND name = ANY(CAST(:names AS text[])) GROUP BY name
    """
)


class _Change(NamedTuple):
    """The instant, what is then said of those who changed, and of all in the database's own words."""

    at: datetime
    changed: dict[int, Any]
    said: str


def next_change(connection: Connection, question: Question) -> dict[str, Any]:
    """`{"at", "said", "instants", "until", "is_complete"}`: `at` None where nothing changes until `until`.

    `said` is what those become who change, by their ids, None for no value. Not complete: there are more instants than
    were looked at.
    """
    return _Search(connection, question).result()


class _Search:
    def __init__(self, connection: Connection, question: Question) -> None:
        self._connection = connection
        self._question = question
        of_accounts = isinstance(question.definition, tree.OfAccounts)
        # Of whom the parts are asked, one by one.
        self._asked = question.of_their_accounts(connection) if of_accounts else question
        self._until = question.as_of + _HORIZON
        self._is_complete = True
        self._looked_at = 0
        given = {
            "people": list(self._asked.people),
            "names": sorted(event_names(question.definition)),
            "as_of": question.as_of,
        }
        counted = connection.execute(_COUNTED, given).all()
        self._coming = frozenset(row.name for row in counted if row.is_coming)
        self._most = _most_instants(question.definition, sum(row.events for row in counted))

    def result(self) -> dict[str, Any]:
        instants = merge(*(self._instants(part) for part in _parts(self._asked.definition)))
        change = self._in_order(at for at, _ in groupby(instants))
        return {
            "at": None if change is None else change.at,
            "said": {} if change is None else change.changed,
            "instants": self._looked_at,
            "until": self._until,
            "is_complete": self._is_complete or change is not None,
        }

    def _instants(self, part: tree.Node) -> Iterator[datetime]:
        """When a part of the definition may change, in order."""
        if not (is_one_way(part, self._coming) and self._only_adds(part)):
            yield from self._turns(part, self._most)
            return
        evaluation, rest = self._asked.evaluation(part), self._turns(part, _SEARCHED)
        said = self._said(evaluation, self._asked) if rest else _NOTHING
        while (change := self._by_halves(evaluation, rest, said)) is not None:
            yield change.at
            if len(self._asked.subjects) == 1:
                return
            said, rest = change.said, rest[bisect_right(rest, change.at) :]

    def _turns(self, part: tree.Node, limit: int) -> list[datetime]:
        """When something that a part looks at crosses an edge, in order; up to where that is all."""
        question = self._asked
        found = {at for at in dates.fixed(part) if question.as_of < at <= self._until}
        compiled = evaluator.turns(part, catalog=question.catalog)
        if compiled is not None:
            turns = question.imagined(compiled)
            given = {**question.arguments(turns), "until": self._until, "limit": limit}
            rows = self._connection.exec_driver_sql(turns.sql, given).all()
            if len(rows) == limit:
                self._end(rows[-1][0])
            found.update(row[0] for row in rows)
        return sorted(found)

    def _only_adds(self, part: tree.Node) -> bool:
        """Whether no sum in there takes something off: else it may rise as events leave."""
        return not any(self._has_negative(event, reference) for event, reference in summed(part))

    def _has_negative(self, event: str, reference: tree.EventField) -> bool:
        asked = compile_negative(event, reference)
        given = self._asked.arguments(asked)
        return self._connection.exec_driver_sql(asked.sql, given).first() is not None

    def _end(self, last: datetime) -> None:
        """There are more instants after the last one."""
        self._until = min(self._until, last)
        self._is_complete = False

    # --- where is it something else -----------------------------------------------------------------------------

    def _in_order(self, instants: Iterator[datetime]) -> _Change | None:
        whole = self._question
        evaluation = whole.evaluation(whole.definition, include_anonymous=whole.include_anonymous)
        size, said = _FIRST_BATCH, None
        while size and (batch := list(islice(instants, size))):
            near = [at for at in batch if at <= self._until]
            self._looked_at += len(near)
            said = said or self._said(evaluation, whole)
            change = self._first(evaluation, near, whole, said)
            if change is not None or len(near) < len(batch):
                return change
            size = min(size * _GROWTH, self._most - self._looked_at)
            if not size and next(instants, None) is not None:
                self._end(batch[-1])
        return None

    def _by_halves(self, evaluation: Evaluation, instants: Sequence[datetime], said: str) -> _Change | None:
        """The first change of what never changes back."""
        change = self._first(evaluation, instants[:FIRST_LOOK], self._asked, said)
        rest = instants[FIRST_LOOK:]
        if change is not None or not rest:
            return change
        change = self._first(evaluation, rest[-1:], self._asked, said)
        low, high = 0, len(rest) - 1
        while change is not None and low < high:
            middle = (low + high) // 2
            earlier = self._first(evaluation, [rest[middle]], self._asked, said)
            if earlier is None:
                low = middle + 1
            else:
                change, high = earlier, middle
        return change

    def _said(self, evaluation: Evaluation, asked: Question) -> str:
        """What is said of all now."""
        now = self._first(evaluation, [asked.as_of], asked, _NOTHING)
        return _NOTHING if now is None else now.said

    def _first(
        self, evaluation: Evaluation, instants: Sequence[datetime], asked: Question, said: str
    ) -> _Change | None:
        """The first of these at which something else is said than that."""
        if not instants:
            return None
        first_change = compile_first_change(evaluation)
        given = {**asked.arguments(first_change), "instants": list(instants), "before": said}
        row = self._connection.exec_driver_sql(first_change.sql, given).one_or_none()
        if row is None:
            return None
        return _Change(row[0], {int(subject): value for subject, value in row[1].items()}, row[2])


def _parts(node: tree.Node) -> Iterator[tree.Node]:
    """The comparisons of an audience, as nothing changes unless one of them does; or the one value of a trait."""
    match node:
        case tree.And() | tree.Or():
            for operand in node.operands:
                yield from _parts(operand)
        case tree.Not():
            yield from _parts(node.operand)
        case _:
            yield node


def _most_instants(definition: tree.Node, events: int) -> int:
    follows = any(isinstance(node, tree.Stream) and any(funnels.inside(node)) for node in walk(definition))
    cost = max(1, events) * (_FOLLOWED_COST if follows else 1)
    return max(_FEWEST_INSTANTS, min(_INSTANTS, _EVENTS_READ // cost))
