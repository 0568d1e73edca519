"""Workers announce what they can run; the catalogue in the database is what web and API know of the engines."""

from collections.abc import Iterable
from typing import Any

from django.db import transaction
from django.utils import timezone

from assay.fleet.models import Node

from .models import Engine, Entry, Method, Problem


@transaction.atomic
def announce(description: list[dict[str, Any]]) -> None:
    """Bring the catalogue to `description` (what `engines.core.describe()` gives).

    What it lacks is deleted, except what a node that has not said goodbye still offers: a worker with fewer
    engines takes nothing from the others.
    """
    description = sorted(description, key=lambda one: one["id"])
    now = timezone.now()
    Engine.objects.bulk_create(
        [Engine(id=one["id"], title=one["title"], description=one["description"], claims=one["claims"],
                announced_at=now) for one in description],
        update_conflicts=True, unique_fields=["id"], update_fields=["title", "description", "claims", "announced_at"],
    )
    for one in description:
        _write(Problem, one["id"], [_common(entry) | {"metrics": entry["metrics"]} for entry in one["problems"]])
        known = dict(Method.objects.filter(engine=one["id"]).values_list("name", "accepts"))
        _write(Method, one["id"], [
            _common(entry) | {
                "source": entry["source"], "checkpointable": entry["checkpointable"], "sampler": entry["sampler"],
                "accepts": known.get(entry["id"], {}) | entry["accepts"],
            }
            for entry in one["methods"]
        ])
    _forget(description)


def _common(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: entry[key] for key in ("title", "docs", "schema", "version", "code")} | {"name": entry["id"]}


def _write(model: type[Problem] | type[Method], engine: str, rows: list[dict[str, Any]]) -> None:
    if not rows:
        return
    rows = sorted(rows, key=lambda row: row["name"])  # one order for all announcers: no deadlock
    model.objects.bulk_create(
        [model(engine_id=engine, **row) for row in rows],  # type: ignore[misc]
        update_conflicts=True, unique_fields=["engine", "name"],
        update_fields=[key for key in rows[0] if key != "name"],
    )


def _forget(description: list[dict[str, Any]]) -> None:
    methods = {f"{one['id']}/{entry['id']}" for one in description for entry in one["methods"]}
    problems = {f"{one['id']}/{entry['id']}" for one in description for entry in one["problems"]}
    for offers, solvable in Node.objects.filter(stopped=False).values_list("offers", "problems"):
        methods |= set(offers)
        problems |= set(solvable)
    _delete_others(Method.objects.select_related(None), methods)
    _delete_others(Problem.objects.select_related(None), problems)
    kept = {name.partition("/")[0] for name in methods | problems} | {one["id"] for one in description}
    Engine.objects.exclude(id__in=kept).delete()
    _drop_unknown_problems()


def _delete_others(entries: Iterable[Entry], kept: set[str]) -> None:
    for entry in entries:
        if f"{entry.engine_id}/{entry.name}" not in kept:  # type: ignore[attr-defined]
            entry.delete()


def _drop_unknown_problems() -> None:
    """`accepts` speaks of problems that are there, and of no others."""
    names: dict[str, set[str]] = {}
    for engine, name in Problem.objects.values_list("engine", "name"):
        names.setdefault(engine, set()).add(name)
    for method in Method.objects.all():
        known = {name: reason for name, reason in method.accepts.items() if name in names.get(method.engine_id, ())}
        if known != method.accepts:
            method.accepts = known
            method.save(update_fields=["accepts"])
