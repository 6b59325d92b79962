"""By which identifier the row of an SQL trait was brought to its person, beside the value that it gave."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("snapshots", sa.Column("matched_by", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("snapshots", "matched_by")
