"""What a guard holds, what a definition changed within the hour, and how many calls each source sent a minute."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

# Counts by stretches of time, the newest first, after so many more stretches have passed. Only twelve are kept.
_SLIDE = """
CREATE FUNCTION engage_slide(counts bigint[], passed bigint, added bigint) RETURNS bigint[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT CASE
    WHEN passed <= 0 THEN ARRAY[coalesce(counts[1], 0) + added] || counts[2:12]
    ELSE (ARRAY[added] || array_fill(0::bigint, ARRAY[least(passed, 12)::integer - 1]) || counts)[1:12]
  END
$$
"""


def upgrade() -> None:
    op.execute(_SLIDE)
    op.create_table(
        "volumes",
        sa.Column("source_id", sa.SmallInteger(), nullable=False),
        sa.Column("minute", sa.DateTime(timezone=True), nullable=False),
        sa.Column("calls", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("source_id", "minute", name=op.f("pk_volumes")),
    )
    for name in ("recent_changes", "recent_growth"):
        op.add_column(
            "computations",
            sa.Column(name, sa.ARRAY(sa.BigInteger()), server_default=sa.text("'{}'"), nullable=False),
        )
    op.add_column(
        "computations", sa.Column("recent_slot", sa.BigInteger(), server_default=sa.text("0"), nullable=False)
    )
    op.add_column("computations", sa.Column("silence_accepted_until", sa.DateTime(timezone=True), nullable=True))
    op.create_table(
        "holds",
        sa.Column("definition_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("is_live", sa.Boolean(), nullable=False),
        sa.Column("looked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("held_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("source_id", sa.SmallInteger(), nullable=True),
        sa.Column("usual", sa.BigInteger(), nullable=True),
        sa.Column("approved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("allowed", sa.BigInteger(), nullable=True),
        sa.Column("allowed_entered", sa.BigInteger(), nullable=True),
        sa.Column("allowed_exited", sa.BigInteger(), nullable=True),
        sa.Column("allowed_changed", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["definition_id"], ["definitions.id"], name=op.f("fk_holds_definition_id_definitions")),
        sa.PrimaryKeyConstraint("definition_id", name=op.f("pk_holds")),
    )
    op.add_column("runs", sa.Column("note", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("runs", "note")
    op.drop_table("holds")
    op.drop_column("computations", "silence_accepted_until")
    for name in ("recent_slot", "recent_growth", "recent_changes"):
        op.drop_column("computations", name)
    op.drop_table("volumes")
    op.execute("DROP FUNCTION engage_slide(bigint[], bigint, bigint)")
