"""Messages that no definition made: source calls that are forwarded, and changes of email, with what they say."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0007"
branch_labels = None
depends_on = None

_OF_A_DEFINITION = ("definition_id", "definition_version", "run_id", "told_version")


def upgrade() -> None:
    for table in ("messages", "delivered", "dead_letters"):
        for column in _OF_A_DEFINITION:
            op.alter_column(table, column, nullable=True)
        op.add_column(table, sa.Column("source_id", sa.SmallInteger(), nullable=True))
    for table in ("messages", "dead_letters"):
        op.add_column(table, sa.Column("call", postgresql.JSONB(astext_type=sa.Text()), nullable=True))


def downgrade() -> None:
    """What these have to say, an older version couldn't read."""
    for table in ("messages", "dead_letters"):
        op.execute(f"DELETE FROM {table} WHERE definition_id IS NULL")  # noqa: S608 - constants of this module
        op.drop_column(table, "call")
    op.execute("DELETE FROM delivered WHERE definition_id IS NULL")
    for table in ("messages", "delivered", "dead_letters"):
        op.drop_column(table, "source_id")
        for column in _OF_A_DEFINITION:
            op.alter_column(table, column, nullable=False)
