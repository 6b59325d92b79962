"""Accounts: what group calls speak of, who belongs to them, and what is known of them.

Group calls that came before were kept as events; they make their accounts here.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_NOW = sa.text("clock_timestamp()")
_ACCOUNTS = """
INSERT INTO accounts (group_id)
SELECT properties ->> 'groupId' FROM events WHERE name = 'Group' AND type = 'group'
GROUP BY 1 ORDER BY min(id)
"""
_TRAITS = """
INSERT INTO account_traits (account_id, name, value, timestamp)
SELECT DISTINCT ON (accounts.id, trait.key) accounts.id, trait.key, trait.value, events.timestamp
FROM events
JOIN accounts ON accounts.group_id = events.properties ->> 'groupId'
CROSS JOIN LATERAL jsonb_each(events.properties - 'groupId') AS trait
WHERE events.name = 'Group' AND events.type = 'group'
ORDER BY accounts.id, trait.key, events.timestamp DESC, events.id DESC
"""
_MEMBERS = """
INSERT INTO account_members (profile_id, account_id, timestamp)
SELECT events.profile_id, accounts.id, max(events.timestamp)
FROM events JOIN accounts ON accounts.group_id = events.properties ->> 'groupId'
WHERE events.name = 'Group' AND events.type = 'group'
GROUP BY 1, 2
"""


def upgrade() -> None:
    op.create_table(
        "accounts",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("group_id", sa.Text(collation="C"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_accounts")),
        sa.UniqueConstraint("group_id", name=op.f("uq_accounts_group_id")),
    )
    op.create_table(
        "account_traits",
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(collation="C"), nullable=False),
        sa.Column("value", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("timestamp", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "name", name=op.f("pk_account_traits")),
    )
    op.create_index(op.f("ix_account_traits_name_account_id"), "account_traits", ["name", "account_id"], unique=False)
    op.create_table(
        "account_members",
        sa.Column("profile_id", sa.BigInteger(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("timestamp", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("profile_id", "account_id", name=op.f("pk_account_members")),
    )
    op.create_index(
        op.f("ix_account_members_account_id_profile_id"), "account_members", ["account_id", "profile_id"], unique=False
    )
    for statement in (_ACCOUNTS, _TRAITS, _MEMBERS):
        op.execute(statement)


def downgrade() -> None:
    op.drop_table("account_members")
    op.drop_table("account_traits")
    op.drop_table("accounts")
