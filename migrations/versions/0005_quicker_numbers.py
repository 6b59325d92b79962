"""Numbers leave quicker: the logarithm that counted their digits took more than all the rest of an evaluation.

Most are exact as they are. Others go by way of float8, from which Postgres makes a numeric of 15 significant digits. By
way of text, as to_jsonb() isn't immutable and would keep the planner from inlining the function.
"""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE OR REPLACE FUNCTION engage_float(value numeric) RETURNS jsonb
        LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN
        CASE
          WHEN value = 0 THEN '0.0'::jsonb
          WHEN abs(value) < 1e9 AND min_scale(value) <= 6 THEN
            (CASE WHEN min_scale(value) = 0 THEN round(value, 1) ELSE trim_scale(value) END)::text::jsonb
          WHEN abs(value) < 1e300 AND abs(value) > 1e-300 THEN
            (CASE WHEN min_scale(value::float8::numeric) = 0 THEN round(value::float8::numeric, 1)
             ELSE trim_scale(value::float8::numeric) END)::text::jsonb
          ELSE
            (CASE WHEN scale(trim_scale(round(value, 14 - floor(log(abs(value)))::int))) = 0
             THEN round(round(value, 14 - floor(log(abs(value)))::int), 1)
             ELSE trim_scale(round(value, 14 - floor(log(abs(value)))::int)) END)::text::jsonb
        END
        """
    )


def downgrade() -> None:
    """What it says is the same."""
