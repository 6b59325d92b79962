"""The events behind an aggregate of one person or account, down the levels of a funnel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Connection, text

from engage_sync.database import pipeline
from engage_sync.database.pipeline import Query
from engage_sync.definitions.language import describe, tree
from engage_sync.evaluation import evaluator
from engage_sync.evaluation.compiler.matches import EVENT_COLUMNS, Asked, LeftOutBy, Listing, Matches, Skipped
from engage_sync.evaluation.compiler.subjects import Accounts, People, Scope, Subject
from engage_sync.evaluation.explain.nodes import head, value_document
from engage_sync.evaluation.explain.question import Question
from engage_sync.evaluation.explain.who import Who

_SOURCES = text("SELECT id, slug FROM sources")
# Of what follows an event so many are shown, and in all so many events are followed: a funnel grows by its levels.
_FOLLOWING = 3
_FOLLOWED = 100
_WHOSE = EVENT_COLUMNS.index("profile_id")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Parent:
    """The event that a stream follows."""

    name: str
    id: int
    timestamp: datetime


class Streams:
    """Answers for one question; remembers how many events of funnels were followed."""

    def __init__(self, connection: Connection, question: Question) -> None:
        self._connection = connection
        self._question = question
        self._subject: Subject = People(scope=Scope.PROFILES, include_anonymous=True)
        if question.accounts is not None:
            self._subject = Accounts(scope=Scope.ACCOUNTS, include_anonymous=question.include_anonymous)
        self._who = Who(connection)
        self._sources = {row.id: row.slug for row in connection.execute(_SOURCES)}
        self._left = _FOLLOWED

    def behind(self, aggregate: tree.Aggregate, parent: _Parent | None = None) -> dict[str, Any]:
        """`{"event", "matched", "left_out", "skipped", "made_by", "newest", "newest_left_out"}`.

        "left_out" are counts by the first filter that leaves an event out. Events have "where" with what each
        expression says of them, in a funnel the events that follow, and of an account the "user" whose they are.
        """
        matches = evaluator.matches(
            aggregate,
            catalog=self._question.catalog,
            since=self._question.since,
            subject=self._subject,
            after=None if parent is None else parent.name,
        )
        shown = self._question.events if parent is None else min(self._question.events, _FOLLOWING)
        listings = [matches.matched, matches.left_out, *([matches.made_by] if matches.made_by else [])]
        evaluations = [matches.counts, *(each.evaluation for each in listings)]
        several = [each.evaluation for each in matches.skipped if each.evaluation is not None]
        evaluations += several
        limits = [0, shown, shown, *([1] if matches.made_by else []), *(0 for _ in several)]
        rows = pipeline.ask_each(
            self._connection,
            [
                Query(each.sql, self._arguments(each.arguments(self._question.as_of), limit, parent), list)
                for each, limit in zip(evaluations, limits, strict=True)
            ],
        )
        (counts,), lists = rows[0], rows[1 : 1 + len(listings)]
        if self._question.accounts is not None:
            self._who.load(row[_WHOSE] for each in lists for row in each)
        return {
            "event": aggregate.stream.event,
            "matched": counts[0],
            "left_out": [
                {"by": reason.by, "text": reason.text, "events": count}
                for reason, count in zip(matches.reasons, counts[1 : 1 + len(matches.reasons)], strict=True)
                if count
            ],
            "skipped": _skipped(matches.skipped, counts, rows[1 + len(listings) :]),
            "made_by": self._events(aggregate, matches, listings[2], lists[2], False)[0]
            if matches.made_by and lists[2]
            else None,
            "newest": self._events(aggregate, matches, listings[0], lists[0], True),
            "newest_left_out": self._events(aggregate, matches, listings[1], lists[1], True),
        }

    def _arguments(self, given: dict[str, Any], limit: int, parent: _Parent | None) -> dict[str, Any]:
        given |= {"subject": self._question.subjects[0], "shown": limit}
        return given if parent is None else {**given, "parent_at": parent.timestamp, "parent_id": parent.id}

    # --- one event ----------------------------------------------------------------------------------------------

    def _events(
        self,
        aggregate: tree.Aggregate,
        matches: Matches,
        listing: Listing,
        rows: Sequence[tuple[Any, ...]],
        follows: bool,
    ) -> list[dict[str, Any]]:
        return [self._event(aggregate, matches, listing, row, follows) for row in rows]

    def _event(
        self,
        aggregate: tree.Aggregate,
        matches: Matches,
        listing: Listing,
        row: tuple[Any, ...],
        follows: bool,
    ) -> dict[str, Any]:
        columns = dict(zip(EVENT_COLUMNS, row, strict=False))
        reason = None if columns["reason"] is None else matches.reasons[columns["reason"]]
        event: dict[str, Any] = {
            "timestamp": columns["timestamp"],
            "source": self._sources.get(columns["source_id"]),
            "message_id": columns["message_id"],
            "properties": _fields(listing, row, tree.PropertyRef),
            "context": _fields(listing, row, tree.ContextRef),
        }
        if self._question.accounts is not None:
            event["user"] = self._who.is_called(columns["profile_id"])
        if reason is not None:
            event["left_out_by"] = {"by": reason.by, "text": reason.text}
        # What was left out before anybody asked has no more to say.
        if listing.asked and (reason is None or reason.by is LeftOutBy.WHERE):
            own = _Parent(name=aggregate.stream.event, id=columns["id"], timestamp=columns["timestamp"])
            event["where"] = [self._expression(each, row, own, follows) for each in listing.asked]
        return event

    def _expression(self, asked: Asked, row: tuple[Any, ...], event: _Parent, follows: bool) -> dict[str, Any]:
        """What an expression of `where` says of an event; null while it can't be told."""
        node = asked.node
        if asked.said is None:
            return self._value(asked, row, event, follows)
        below = [self._expression(each, row, event, follows) for each in asked.below]
        document = {**head(node), "value": True if row[asked.said] else (False if row[asked.denied or 0] else None)}
        if asked.closes_after is not None and event.timestamp + asked.closes_after > self._question.as_of:
            document["open_until"] = event.timestamp + asked.closes_after
        if not isinstance(node, tree.Comparison):
            return {**document, "operands": below}
        durations = [head(each) for each in node.arguments if isinstance(each, tree.Duration)]
        return {**document, "comparator": node.comparator, "left": below[0], "arguments": [*below[1:], *durations]}

    def _value(self, asked: Asked, row: tuple[Any, ...], event: _Parent, follows: bool) -> dict[str, Any]:
        node = asked.node
        if isinstance(node, tree.LiteralValue):
            return value_document(node)
        document = {**head(node), "value": row[asked.value or 0]}
        if isinstance(node, tree.Aggregate) and follows and self._left > 0:
            self._left -= 1
            document["reducer"] = describe(node.reducer)
            document["events"] = self.behind(node, event)
        return document


def _fields(listing: Listing, row: Sequence[Any], kind: type) -> dict[str, Any]:
    """What the query reads of an event, by the path up to the first `$`."""
    found: dict[str, Any] = {}
    for reference, column in listing.fields:
        if isinstance(reference, kind):
            path = reference.path[: reference.path.index("$")] if "$" in reference.path else reference.path
            found[".".join(path)] = row[column]
    return found


def _skipped(
    asked: Sequence[Skipped], counts: Sequence[Any], several: Sequence[Sequence[Sequence[Any]]]
) -> list[Mapping[str, Any]]:
    """Values that don't read as what they are read as: from the row of counts, or a row of their own."""
    found: list[Mapping[str, Any]] = []
    own = iter(several)
    for each in asked:
        row = next(own)[0] if each.column is None else counts[each.column : each.column + 3]
        values, skipped, example = row
        if skipped:
            found.append(
                {
                    "text": describe(each.reference),
                    "expected": each.expected,
                    "values": values,
                    "skipped": skipped,
                    "example": _example(example),
                }
            )
    return found


def _example(text_: str) -> Any:
    """A value as it was sent; its beginning where it is long."""
    try:
        return orjson.loads(text_)
    except orjson.JSONDecodeError:
        return text_ + "…"
