"""The metric store: every number a run or a node reports, over steps.

`store` opens it, `writer` appends, `reader` reads, `retention` removes; `codec` packs points into chunks. Its tables
belong to SQLAlchemy and Alembic, not to Django's ORM, so that it may live in a database of its own (`METRICS_URL`).
"""
