"""How often each source sent an event, and which event's silence holds a definition."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "event_volumes",
        sa.Column("source_id", sa.SmallInteger(), nullable=False),
        sa.Column("event", sa.BigInteger(), nullable=False),
        sa.Column("stretch", sa.DateTime(timezone=True), nullable=False),
        sa.Column("calls", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("source_id", "event", "stretch", name=op.f("pk_event_volumes")),
    )
    # The newest stretch of each is counted up again and again.
    op.execute("ALTER TABLE event_volumes SET (fillfactor = 80)")
    op.add_column("holds", sa.Column("event", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("holds", "event")
    op.drop_table("event_volumes")
