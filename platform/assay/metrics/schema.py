"""The tables of the metric store. Alembic (`alembic/versions`) makes them; a test keeps the two alike."""

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    UniqueConstraint,
)

CHUNK = 1024  # points in a full chunk
KEY_LENGTH = 200  # characters

# SQLite numbers rows by itself only when the key is declared INTEGER.
Identifier = BigInteger().with_variant(Integer, "sqlite")
# One order everywhere, that of Python's strings: writers lock series in the order of their keys.
Key = String(KEY_LENGTH).with_variant(String(KEY_LENGTH, collation="C"), "postgresql")

metadata = MetaData()

# One row for each attempt's numbers under one key.
series = Table(
    "series",
    metadata,
    Column("id", Identifier, primary_key=True),
    Column("kind", String(4), nullable=False),  # "run" or "node": what `owner` is the id of
    Column("owner", BigInteger, nullable=False),
    Column("key", Key, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("n", BigInteger, nullable=False),  # points ever written; point i is in the chunk of seq i // CHUNK
    Column("first_step", BigInteger, nullable=True),  # the lowest step written
    Column("last_step", BigInteger, nullable=True),  # the step of the point written last
    Column("last_bits", BigInteger, nullable=True),  # that point's value, as its 64 bits: SQLite keeps no NaN
    Column("min", Double, nullable=True),  # of the finite values; NULL when there is none
    Column("max", Double, nullable=True),
    UniqueConstraint("kind", "owner", "key", "attempt", name="series_once"),
)

# Up to CHUNK points that follow each other; only a series' last chunk is shorter, and is rewritten until full.
chunk = Table(
    "chunk",
    metadata,
    Column("series", Identifier, ForeignKey("series.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("n", Integer, nullable=False),
    Column("first_step", BigInteger, nullable=False),  # the lowest step within
    Column("last_step", BigInteger, nullable=False),  # the highest step within
    Column("payload", LargeBinary, nullable=False),  # see codec.py
)
