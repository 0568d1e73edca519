"""The history of the metric store's tables, as Alembic keeps it."""

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection

if TYPE_CHECKING:  # a process that only reads and writes points does without Alembic
    from alembic.config import Config

VERSION_TABLE = "metrics_version"


def upgrade(connection: Connection) -> None:
    """Bring the tables to the newest revision, within the connection's transaction."""
    from alembic import command

    command.upgrade(_config(connection), "head")


def is_current(connection: Connection) -> bool:
    """Whether the tables are at the newest revision."""
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    newest = ScriptDirectory.from_config(_config(connection)).get_current_head()
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    return context.get_current_revision() == newest


def _config(connection: Connection) -> "Config":
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return config
