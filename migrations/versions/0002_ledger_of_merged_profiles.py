"""Which profile took in the internal id of one that was merged away: what the ledger says of it can be found again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "lost_profiles",
        sa.Column("lost_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("profile_id", sa.BigInteger(), nullable=False),
        sa.Column("lost_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.PrimaryKeyConstraint("lost_id", name=op.f("pk_lost_profiles")),
    )
    op.create_index(op.f("ix_lost_profiles_profile_id"), "lost_profiles", ["profile_id"], unique=False)


def downgrade() -> None:
    op.drop_table("lost_profiles")
