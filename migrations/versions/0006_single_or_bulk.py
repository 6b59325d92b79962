"""By which road each message was sent last, single or bulk: nothing orders the two at the destination."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("messages", sa.Column("in_bulk", sa.Boolean()))
    op.add_column("delivered", sa.Column("in_bulk", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    # What a person was sent in the last minutes is asked at each claim, also of one who was sent thousands before.
    op.drop_index(op.f("ix_delivered_profile_id"), "delivered")
    op.create_index(op.f("ix_delivered_profile_id_delivered_at"), "delivered", ["profile_id", "delivered_at"])


def downgrade() -> None:
    op.drop_index(op.f("ix_delivered_profile_id_delivered_at"), "delivered")
    op.create_index(op.f("ix_delivered_profile_id"), "delivered", ["profile_id"])
    op.drop_column("delivered", "in_bulk")
    op.drop_column("messages", "in_bulk")
