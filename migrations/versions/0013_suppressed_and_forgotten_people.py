"""People who are suppressed or forgotten: known by keyed hashes, and on record without a name."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_INSTANT = sa.DateTime(timezone=True)
_NOW = sa.text("clock_timestamp()")


def upgrade() -> None:
    op.add_column(
        "installation",
        sa.Column("privacy_salt", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
    )
    op.add_column("installation", sa.Column("privacy_check", sa.Uuid(), nullable=True))
    op.add_column(
        "installation", sa.Column("suppressed_calls", sa.BigInteger(), server_default=sa.text("0"), nullable=False)
    )
    op.create_table(
        "privacy_requests",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("asked_at", _INSTANT, server_default=_NOW, nullable=False),
        sa.Column("asked_by", sa.Text(), nullable=False),
        sa.Column("was_known", sa.Boolean(), nullable=False),
        sa.Column("profiles", postgresql.ARRAY(sa.BigInteger()), nullable=True),
        sa.Column("withdrawn", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("deleted", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("finished_at", _INSTANT, nullable=True),
        sa.Column("undone_at", _INSTANT, nullable=True),
        sa.Column("undone_by", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_privacy_requests")),
    )
    op.create_index(
        "ix_privacy_requests_unfinished",
        "privacy_requests",
        ["id"],
        unique=False,
        postgresql_where=sa.text("finished_at IS NULL"),
    )
    op.create_table(
        "suppressions",
        sa.Column("digest", sa.Uuid(), nullable=False),
        sa.Column("request_id", sa.BigInteger(), nullable=False),
        sa.Column("created_at", _INSTANT, server_default=_NOW, nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_suppressions")),
    )
    op.create_index(op.f("ix_suppressions_request_id"), "suppressions", ["request_id"], unique=False)
    op.create_table(
        "suppressed_profiles",
        sa.Column("profile_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("request_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("profile_id", name=op.f("pk_suppressed_profiles")),
    )
    op.create_index(op.f("ix_suppressed_profiles_request_id"), "suppressed_profiles", ["request_id"], unique=False)
    op.create_table(
        "privacy_answers",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("request_id", sa.BigInteger(), nullable=False),
        sa.Column("destination_id", sa.SmallInteger(), nullable=False),
        sa.Column("identity_type", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("asked_at", _INSTANT, server_default=_NOW, nullable=False),
        sa.Column("answered_at", _INSTANT, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_privacy_answers")),
    )
    op.create_index(op.f("ix_privacy_answers_request_id"), "privacy_answers", ["request_id"], unique=False)
    op.create_index(
        "ix_privacy_answers_open",
        "privacy_answers",
        ["destination_id"],
        unique=False,
        postgresql_where=sa.text("status IN ('waiting', 'refused')"),
    )


def downgrade() -> None:
    for table in ("privacy_answers", "suppressed_profiles", "suppressions", "privacy_requests"):
        op.drop_table(table)
    for column in ("suppressed_calls", "privacy_check", "privacy_salt"):
        op.drop_column("installation", column)
