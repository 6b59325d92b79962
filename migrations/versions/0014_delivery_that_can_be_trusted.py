"""A rate that gives way to 429s, outages of destinations, and dead letters in the order of their messages."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("rate_budgets", sa.Column("share", sa.Float(), server_default=sa.text("1"), nullable=False))
    op.add_column("rate_budgets", sa.Column("lowered_at", sa.DateTime(timezone=True), nullable=True))
    op.create_table(
        "outages",
        sa.Column("destination_id", sa.SmallInteger(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("probes", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("probe_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("destination_id", "since", name=op.f("pk_outages")),
    )
    op.create_index(
        "ix_outages_open", "outages", ["destination_id"], unique=True, postgresql_where=sa.text("until IS NULL")
    )
    op.create_index(
        "ix_dead_letters_open_message", "dead_letters", ["message_id"], postgresql_where=sa.text("status = 'open'")
    )


def downgrade() -> None:
    op.drop_index("ix_dead_letters_open_message", "dead_letters")
    op.drop_table("outages")
    op.drop_column("rate_budgets", "lowered_at")
    op.drop_column("rate_budgets", "share")
