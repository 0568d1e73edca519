"""Removing points (those of owners that are gone, and telemetry that is old), and how much there is to remove."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Select, func, select
from sqlalchemy import delete as delete_from

from .schema import CHUNK, chunk, series
from .store import Kind, Store

AT_ONCE = 500  # values in one `IN`


def delete(store: Store, owners: Sequence[int], kind: Kind = "run") -> None:
    """Remove all that these owners ever reported. Owners without points are no error."""
    gone = sorted(set(owners))
    with store.writing() as connection:
        for start in range(0, len(gone), AT_ONCE):
            some = gone[start : start + AT_ONCE]
            _remove(connection, select(series.c.id).where(series.c.kind == kind, series.c.owner.in_(some)))


def size(store: Store, owners: Sequence[int], kind: Kind = "run") -> int:
    """Bytes of all that these owners reported, as they are kept: compressed, without what a database adds."""
    total = 0
    payloads = select(func.coalesce(func.sum(func.length(chunk.c.payload)), 0)).join(
        series, series.c.id == chunk.c.series).where(series.c.kind == kind)
    with store.reading() as connection:
        for start in range(0, len(owners), AT_ONCE):
            total += connection.scalar(payloads.where(series.c.owner.in_(owners[start : start + AT_ONCE]))) or 0
    return total


def owners(store: Store, kind: Kind = "run") -> list[int]:
    """Everyone who has reported anything."""
    with store.reading() as connection:
        return list(connection.scalars(select(series.c.owner).where(series.c.kind == kind).distinct()))


def prune(store: Store, *, before: int, kind: Kind = "node") -> None:
    """Remove full chunks whose steps all lie below `before`, and series without a younger point.

    For node telemetry a step is a time, in Unix seconds. Chunks go whole, so a few older points may stay.
    """
    old = select(series.c.id).where(series.c.kind == kind)
    young = select(chunk.c.series).where(chunk.c.last_step >= before)
    with store.writing() as connection:
        _remove(connection, old.where(series.c.last_step < before, series.c.id.not_in(young)))
        connection.execute(  # not the short last chunk of a living series: its writer goes on from it
            delete_from(chunk).where(chunk.c.series.in_(old), chunk.c.last_step < before, chunk.c.n == CHUNK)
        )


def _remove(connection: Connection, chosen: Select[Any]) -> None:
    """Remove series and, with them, their chunks; locked in the order in which writers lock them."""
    in_order = chosen.order_by(series.c.kind, series.c.owner, series.c.key, series.c.attempt)
    ids = list(connection.scalars(in_order.with_for_update()))
    for start in range(0, len(ids), AT_ONCE):
        connection.execute(delete_from(series).where(series.c.id.in_(ids[start : start + AT_ONCE])))
