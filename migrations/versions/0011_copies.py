"""To which server and database the installation is bound: so that a copy is known for one, and sends nothing."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("installation", sa.Column("system_identifier", sa.BigInteger(), nullable=True))
    op.add_column("installation", sa.Column("database_oid", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column("installation", "database_oid")
    op.drop_column("installation", "system_identifier")
