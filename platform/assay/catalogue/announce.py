"""Workers announce what they can run; the catalogue in the database is what web and API know of the engines."""

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from django.db import transaction
from django.utils import timezone

from assay.claims.models import Claim
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
        [Engine(id=one["id"], title=one["title"], description=one["description"], announced_at=now)
         for one in description],
        update_conflicts=True, unique_fields=["id"], update_fields=["title", "description", "announced_at"],
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
    _write_claims(description)
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


def _write_claims(description: list[dict[str, Any]]) -> None:
    """Only those that differ from what is there: a large catalogue's claims are megabytes of specs.

    A claim that is gone is deleted when this announcer could run it: it may be a plug-in's that others have.
    """
    known = {(engine, system): digest for engine, system, digest in Claim.objects.values_list(
        "engine", "system", "digest")}
    told = {(one["id"], claim["system"]): _claim(one["id"], claim) for one in description for claim in one["claims"]}
    changed = [claim for key, claim in sorted(told.items()) if known.get(key) != claim.digest]
    if changed:
        Claim.objects.bulk_create(
            changed, update_conflicts=True, unique_fields=["engine", "system"], batch_size=50,
            update_fields=[field.name for field in Claim._meta.concrete_fields
                           if field.name not in ("id", "engine", "system")])
    ours = {one["id"]: {method["id"] for method in one["methods"]} for one in description}
    for claim in Claim.objects.filter(engine__in=ours).only("engine", "system", "methods"):
        if (claim.engine_id, claim.system) not in told and set(claim.methods) <= ours[claim.engine_id]:
            claim.delete()


def _claim(engine: str, one: dict[str, Any]) -> Claim:
    names = ("system", "statement", "headline", "seconds", "version", "own", "parts", "specs")
    fields = {name: one[name] for name in names}
    digest = hashlib.sha256(json.dumps(one, sort_keys=True).encode()).hexdigest()
    methods = sorted({spec["method"]["id"] for spec in one["specs"]})
    return Claim(engine_id=engine, **fields, methods=methods, runs=len(one["specs"]), digest=digest)


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
