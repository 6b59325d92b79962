"""The oldest revision whose processes may run on this schema, so that old and new ones run side by side."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("installation", sa.Column("compatible_since", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("installation", "compatible_since")
