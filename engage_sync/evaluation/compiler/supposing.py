"""What a statement would say if definitions said something else than their snapshots do.

Whatever is compiled reads one table by its name; the name is given to other rows around it. So nothing compiled knows
whether it is asked of what is so or of what is supposed, and what stands in may be a table of millions or a few values.
"""

from __future__ import annotations

from dataclasses import replace

from engage_sync.evaluation.compiler.statement import Evaluation

# Not materialized, as the planner then reads through it as it reads the table itself, index and all.
_AS_IF = """
WITH snapshots AS NOT MATERIALIZED ({snapshots})
SELECT * FROM ({statement}) AS supposed
"""


def as_if(statement: Evaluation, snapshots: Evaluation) -> Evaluation:
    """The statement over rows (profile_id, definition_id, value) in place of the live snapshots, which these may read.

    The columns are the statement's own; the parameters are those of both.
    """
    sql = _AS_IF.replace("{snapshots}", snapshots.sql).replace("{statement}", statement.sql)
    return replace(statement, sql=sql, parameters={**statement.parameters, **snapshots.parameters})
