"""Series and their chunks."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

IDENTIFIER = sa.BigInteger().with_variant(sa.Integer, "sqlite")
KEY = sa.String(200).with_variant(sa.String(200, collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "series",
        sa.Column("id", IDENTIFIER, primary_key=True),
        sa.Column("kind", sa.String(4), nullable=False),
        sa.Column("owner", sa.BigInteger, nullable=False),
        sa.Column("key", KEY, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("n", sa.BigInteger, nullable=False),
        sa.Column("first_step", sa.BigInteger, nullable=True),
        sa.Column("last_step", sa.BigInteger, nullable=True),
        sa.Column("last_bits", sa.BigInteger, nullable=True),
        sa.Column("min", sa.Double, nullable=True),
        sa.Column("max", sa.Double, nullable=True),
        sa.UniqueConstraint("kind", "owner", "key", "attempt", name="series_once"),
    )
    op.create_table(
        "chunk",
        sa.Column(
            "series", IDENTIFIER, sa.ForeignKey("series.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
        ),
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("n", sa.Integer, nullable=False),
        sa.Column("first_step", sa.BigInteger, nullable=False),
        sa.Column("last_step", sa.BigInteger, nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
    )
    if op.get_bind().dialect.name == "postgresql":  # zlib has compressed it already
        op.execute("ALTER TABLE chunk ALTER COLUMN payload SET STORAGE EXTERNAL")


def downgrade() -> None:
    op.drop_table("chunk")
    op.drop_table("series")
