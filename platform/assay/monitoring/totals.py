"""Counting what happens to runs: each move once, by `maintenance`, into a few rows that a scrape reads at once."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from itertools import takewhile
from typing import Any

from django.db import transaction
from django.db.models.functions import Now

from assay.experiments.models import Move, State
from assay.experiments.state import ENDED

from .models import Counted, Total

AT_ONCE = 2000  # moves in one transaction
# Moves get their numbers before they are committed, so a younger one may be seen first. After this time no older one
# is still to come: nobody moves a run in a transaction that takes half as long.
SETTLED = timedelta(seconds=15)
RUN_SECONDS = (1, 3, 10, 30, 60, 300, 900, 3600, 10_800, 43_200, 86_400)
WAIT_SECONDS = (1, 3, 10, 30, 60, 300, 900, 3600, 10_800, 43_200, 86_400)
LABELS = {
    "runs_ended": ("engine", "state"),
    "run_failures": ("engine", "kind"),
    "run_retries": (),
    "run_takeovers": ("why",),
    "run_seconds": ("engine", "state"),  # histograms: with "le" at the end, "sum" among its values
    "run_wait_seconds": ("queue",),
    "notifications": ("channel", "outcome"),
}

Changes = Mapping[tuple[str, tuple[str, ...]], float]


@contextmanager
def _alone() -> Iterator[Counted]:
    """A transaction in which nobody else counts."""
    Counted.objects.get_or_create(pk=1)
    with transaction.atomic():
        yield Counted.objects.select_for_update().annotate(now=Now()).get(pk=1)


def add(changes: Changes) -> None:
    """Count these, within the caller's transaction if there is one: together with what is counted, or not at all."""
    with _alone():
        _add(changes)


def _add(changes: Changes) -> None:
    known = {(one.name, one.labels): one for one in Total.objects.filter(name__in={name for name, _ in changes})}
    new, changed = [], []
    for (name, labels), by in changes.items():
        key = (name, json.dumps(labels))
        if key in known:
            known[key].value += by
            changed.append(known[key])
        else:
            new.append(Total(name=name, labels=key[1], value=by))
    Total.objects.bulk_update(changed, ["value"])
    Total.objects.bulk_create(new)


def read() -> dict[str, dict[tuple[str, ...], float]]:
    """By name and labels."""
    found: dict[str, dict[tuple[str, ...], float]] = {name: {} for name in LABELS}
    for name, labels, value in Total.objects.values_list("name", "labels", "value"):
        found.setdefault(name, {})[tuple(json.loads(labels))] = value
    return found


def count_moves() -> int:
    """Count the moves since the last time; how many there were."""
    fields = ("pk", "at", "old", "new", "attempt", "reason", "run__attempt", "run__engine", "run__queue",
              "run__failure_kind", "run__created_at", "run__started_at")
    with _alone() as counted:
        until = counted.now - SETTLED  # type: ignore[attr-defined]
        moves = Move.objects.filter(pk__gt=counted.move).order_by("pk").values(*fields)[:AT_ONCE]
        settled = list(takewhile(lambda move: move["at"] < until, moves))
        if settled:
            _add(changes(settled))
        Counted.objects.filter(pk=1).update(at=Now(), move=settled[-1]["pk"] if settled else counted.move)
    return len(settled)


def changes(moves: Iterable[Mapping[str, Any]]) -> Changes:
    """What these moves count for."""
    found: Counter[tuple[str, tuple[str, ...]]] = Counter()

    def observe(name: str, labels: tuple[str, ...], seconds: float, buckets: tuple[int, ...]) -> None:
        le = next((str(bound) for bound in buckets if seconds <= bound), "+Inf")
        found[name, (*labels, le)] += 1
        found[name, (*labels, "sum")] += max(seconds, 0.0)  # type: ignore[assignment]

    for move in moves:
        engine, new = move["run__engine"], move["new"]
        if new == State.RUNNING and move["attempt"] == 1:
            waited = (move["at"] - move["run__created_at"]).total_seconds()
            observe("run_wait_seconds", (move["run__queue"],), waited, WAIT_SECONDS)
        elif new == State.RUNNING:
            found["run_retries", ()] += 1
        elif move["old"] == State.RUNNING and (why := _taken_back(move)):
            found["run_takeovers", (why,)] += 1
        if new in ENDED:
            found["runs_ended", (engine, new)] += 1
        if new in (State.FAILED, State.TIMED_OUT, State.LOST):
            kind = move["run__failure_kind"] or State(new).label.lower()
            found["run_failures", (engine, kind)] += 1
        if new in ENDED and move["old"] == State.RUNNING and move["run__attempt"] == move["attempt"]:
            took = (move["at"] - move["run__started_at"]).total_seconds()
            observe("run_seconds", (engine, new), took, RUN_SECONDS)
    return found


def _taken_back(move: Mapping[str, Any]) -> str:
    """Why a worker lost this run, as `tasks` words it; "" when it ended by itself."""
    reason = move["reason"]
    if "vanished" in reason:
        return "vanished"
    if "started anew" in reason:
        return "restarted"
    return "given back" if move["new"] in (State.QUEUED, State.LOST) else ""
