"""What was read from destinations, and what isn't known for certain, is found without reading all that was told."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("told", sa.Column("is_adopted", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.create_index(
        "ix_told_adopted",
        "told",
        ["definition_id", "profile_id"],
        unique=False,
        postgresql_where=sa.text("is_adopted"),
    )
    op.create_index(
        "ix_told_unknown",
        "told",
        ["destination_id", "definition_id"],
        unique=False,
        postgresql_where=sa.text("is_unknown"),
    )


def downgrade() -> None:
    op.drop_index("ix_told_unknown", table_name="told")
    op.drop_index("ix_told_adopted", table_name="told")
    op.drop_column("told", "is_adopted")
