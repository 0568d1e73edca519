"""How both stores speak to PostgreSQL: over a network that may be cut, and through a pooler such as PgBouncer.

A pooler that gives a connection to each transaction keeps nothing else for us between two of them. So there are no
prepared statements, no cursors and no locks that outlive a transaction; what is set for a session is the same for all.
"""

from typing import Any

# A connection whose other end is gone is noticed in seconds, not after the kernel's two hours.
PATIENCE: dict[str, Any] = {
    "connect_timeout": 10, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3,
    "tcp_user_timeout": 20_000,  # milliseconds
}
# The server, too, gives up what a machine that was cut off in a transaction has locked.
GIVE_UP = "SET idle_in_transaction_session_timeout = '5min'"


def begin_session(connection: Any, **_: Any) -> None:
    """Receiver of Django's `connection_created`."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(GIVE_UP)
