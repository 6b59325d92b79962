"""What each condition of an audience leaves over: how many people it holds for alone, and with those before it.

Reads whatever an evaluation reads; writes the session's own table `engage_waterfall`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from engage_sync.definitions.language import describe, tree
from engage_sync.evaluation.compiler import Evaluation

CREATE = (
    "DROP TABLE IF EXISTS pg_temp.engage_waterfall",
    """
    CREATE TEMPORARY TABLE engage_waterfall (
      junction smallint NOT NULL, step smallint NOT NULL, profile_id bigint NOT NULL
    ) ON COMMIT DELETE ROWS
    """,
)
_KEEP = """
WITH held AS MATERIALIZED (SELECT profile_id FROM ({evaluation}) AS evaluated), kept AS (
  INSERT INTO engage_waterfall (junction, step, profile_id)
  SELECT %(engage_junction)s, %(engage_step)s, profile_id FROM held WHERE {condition}
  RETURNING 1
)
SELECT (SELECT count(*) FROM held) AS alone, (SELECT count(*) FROM kept) AS kept
"""
# Of a conjunction, those that the condition before left over; of a disjunction, those whom none before brought in.
_LEFT_OVER = """
  %(engage_step)s = 0 OR profile_id IN (
    SELECT profile_id FROM engage_waterfall WHERE junction = %(engage_junction)s AND step = %(engage_step)s - 1
  )
"""
_NEW = """
  NOT EXISTS (
    SELECT FROM engage_waterfall AS known WHERE junction = %(engage_junction)s AND known.profile_id = held.profile_id
  )
"""
_STATEMENTS = {
    "AND": _KEEP.replace("{condition}", _LEFT_OVER),
    "OR": _KEEP.replace("{condition}", _NEW),
}

Evaluate = Callable[[tree.Node], Evaluation]


@dataclass(frozen=True, kw_only=True, slots=True)
class Waterfall:
    """Evaluates conditions one by one. `arguments` gives those of an evaluation, `done` hears of each that is done."""

    connection: Connection
    evaluate: Evaluate
    arguments: Callable[[Evaluation], dict[str, Any]]
    done: Callable[[], None]

    def of(self, expression: tree.Node) -> dict[str, Any] | None:
        """`{"junction": "AND" | "OR", "conditions": [{"condition", "alone", "cumulative"}]}`; None for one condition.

        A condition that is a junction itself has its own `waterfall`, one level deep.
        """
        of_accounts = isinstance(expression, tree.OfAccounts)
        expression = _asked(expression)
        if not isinstance(expression, tree.And | tree.Or):
            return None
        found = self._junction(expression, 0, of_accounts)
        for number, operand in enumerate(expression.operands, start=1):
            if isinstance(operand, tree.And | tree.Or):
                found["conditions"][number - 1]["waterfall"] = self._junction(operand, number, of_accounts)
        return found

    def _junction(self, expression: tree.And | tree.Or, number: int, of_accounts: bool) -> dict[str, Any]:
        word = "AND" if isinstance(expression, tree.And) else "OR"
        return {"junction": word, "conditions": self._conditions(word, expression.operands, number, of_accounts)}

    def _conditions(
        self, word: str, operands: Sequence[tree.Boolean], number: int, of_accounts: bool
    ) -> list[dict[str, Any]]:
        conditions = []
        total = 0
        for step, operand in enumerate(operands):
            evaluation = self.evaluate(tree.OfAccounts(of=operand) if of_accounts else operand)
            statement = _STATEMENTS[word].replace("{evaluation}", evaluation.sql)
            given = {**self.arguments(evaluation), "engage_junction": number, "engage_step": step}
            row = self.connection.exec_driver_sql(statement, given).one()
            self.connection.exec_driver_sql("ANALYZE engage_waterfall")
            total = row.kept + (total if word == "OR" else 0)
            conditions.append({"condition": describe(operand), "alone": row.alone, "cumulative": total})
            self.done()
        return conditions


def passes(expression: tree.Node) -> int:
    """How many conditions will be evaluated."""
    expression = _asked(expression)
    if not isinstance(expression, tree.And | tree.Or):
        return 0
    nested = [operand for operand in expression.operands if isinstance(operand, tree.And | tree.Or)]
    return len(expression.operands) + sum(len(operand.operands) for operand in nested)


def _asked(expression: tree.Node) -> tree.Node:
    """The condition itself, whether it is asked of people or of accounts."""
    return expression.of if isinstance(expression, tree.OfAccounts) else expression
