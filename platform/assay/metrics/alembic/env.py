"""Run by Alembic. To write a new revision, add a file to `versions/` (see docs/architecture.md)."""

from alembic import context

from assay.metrics.alembic import VERSION_TABLE
from assay.metrics.schema import metadata

context.configure(
    connection=context.config.attributes["connection"], target_metadata=metadata, version_table=VERSION_TABLE
)
with context.begin_transaction():
    context.run_migrations()
