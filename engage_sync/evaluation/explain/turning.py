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
from dataclasses import replace
from datetime import datetime, timedelta
from heapq import merge
from itertools import groupby, islice
from typing import Any

from sqlalchemy import Connection, text

from engage_sync.definitions.language import event_names, tree, walk
from engage_sync.evaluation import dates, funnels
from engage_sync.evaluation.compiler import Evaluation, compile_first_change, compile_negative, compile_turns
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
# How many instants are looked at in one statement: few at first, as the first edge often is the one.
_FIRST_BATCH = 4
# Before a search by halves so many are looked at; tests set both lower, as their people have few events.
FIRST_LOOK = 4
_GROWTH = 4
PIVOTS = 4

_COUNTED = text(
    """
    SELECT name, count(*) AS events, max(timestamp) > :as_of AS is_coming FROM events
    WHERE profile_id = ANY(CAST(:people AS bigint[])) AND name = ANY(CAST(:names AS text[])) GROUP BY name
    """
)

# The instant, and what is then said of those who changed.
Change = tuple[datetime, dict[int, Any]]


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
            "at": None if change is None else change[0],
            "said": {} if change is None else change[1],
            "instants": self._looked_at,
            "until": self._until,
            "is_complete": self._is_complete or change is not None,
        }

    def _instants(self, part: tree.Node) -> Iterator[datetime]:
        """When a part of the definition may change, in order."""
        if not (is_one_way(part, self._coming) and self._only_adds(part)):
            yield from self._turns(part, self._most)
            return
        evaluation, asked, rest = self._asked.evaluation(part), self._asked, self._turns(part, _SEARCHED)
        while (change := self._by_halves(evaluation, rest, asked)) is not None:
            yield change[0]
            if len(asked.subjects) == 1:
                return
            asked = replace(asked, as_of=change[0])
            rest = rest[bisect_right(rest, change[0]) :]

    def _turns(self, part: tree.Node, limit: int) -> list[datetime]:
        """When something that a part looks at crosses an edge, in order; up to where that is all."""
        question = self._asked
        found = {at for at in dates.fixed(part) if question.as_of < at <= self._until}
        compiled = compile_turns(part, catalog=question.catalog)
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

    def _in_order(self, instants: Iterator[datetime]) -> Change | None:
        whole = self._question
        evaluation = whole.evaluation(whole.definition, include_anonymous=whole.include_anonymous)
        size = _FIRST_BATCH
        while size and (batch := list(islice(instants, size))):
            near = [at for at in batch if at <= self._until]
            self._looked_at += len(near)
            change = self._first(evaluation, near, whole) if near else None
            if change is not None or len(near) < len(batch):
                return change
            size = min(size * _GROWTH, self._most - self._looked_at)
            if not size and next(instants, None) is not None:
                self._end(batch[-1])
        return None

    def _by_halves(self, evaluation: Evaluation, instants: Sequence[datetime], asked: Question) -> Change | None:
        """The first change of what never changes back.

        Often one of the first instants; else by quarters rather than halves, as a round trip costs too.
        """
        change = self._first(evaluation, instants[:FIRST_LOOK], asked) if instants else None
        instants = [] if change else instants[FIRST_LOOK:]
        while instants:
            step = max(1, len(instants) // PIVOTS)
            pivots = [*instants[step - 1 :: step][:-1], instants[-1]]
            change = self._first(evaluation, pivots, asked) or change
            if change is None or step == 1:
                return change
            found = pivots.index(change[0])
            instants = instants[found * step : instants.index(change[0]) + 1]
        return change

    def _first(self, evaluation: Evaluation, instants: Sequence[datetime], asked: Question) -> Change | None:
        """The first of these at which it says something else than now."""
        first_change = compile_first_change(evaluation)
        given = {**asked.arguments(first_change), "instants": [asked.as_of, *instants]}
        row = self._connection.exec_driver_sql(first_change.sql, given).one_or_none()
        if row is None:
            return None
        return row[0], {int(subject): value for subject, value in row[1].items()}


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
