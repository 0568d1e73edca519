"""The requests of `benchmarks.tables` on the database that the environment names: prints JSON of medians."""

import json
import random
import time
from collections.abc import Callable
from statistics import median
from typing import Any

from .report import set_up_django

RUNS = 10_000
LARGE = 2_000  # the most that an experiment may have
SMALL = 20
TURNS = 15


def fill() -> tuple[Any, int, int]:
    """10,000 finished runs; the user who sees them, a large experiment and a small one."""
    from assay.accounts.models import Membership, Project, Role, User
    from assay.experiments.models import Experiment, Run
    from django.utils import timezone

    user = User.objects.create_user("bench")
    project = Project.objects.create(slug="bench", name="Bench")
    Membership.objects.create(project=project, user=user, role=Role.ADMIN)
    dice = random.Random(0)
    now = timezone.now()
    sizes = [LARGE] * 4 + [SMALL] * ((RUNS - 4 * LARGE) // SMALL)
    ids = []
    for size in sizes:
        methods = [{"id": f"method-{i}", "lr": 0.1, "momentum": 0.9} for i in range(4)]
        experiment = Experiment.objects.create(
            project=project, owner=user, name=f"of {size}", engine="bench", problem={"id": "digits", "size": "quick"},
            methods=methods, seeds=list(range(size // 4)), budget={"steps": 400}, resources={"queue": "cpu"},
            tags=["a"],
        )
        ids.append(experiment.pk)
        Run.objects.bulk_create([
            Run(experiment=experiment, index=i + 1, engine="bench", problem="digits", method=methods[i % 4]["id"],
                label=methods[i % 4]["id"], seed=i // 4, version="1", spec_hash="0" * 64, state="succeeded", attempt=1,
                started_at=now, ended_at=now, progress=1.0,
                spec={"engine": "bench", "problem": experiment.problem, "method": methods[i % 4], "seed": i // 4,
                      "budget": {"steps": 400}, "resources": {"queue": "cpu", "cores": 1, "gpus": 0, "labels": []}},
                summary={name: dice.random() for name in ("test/accuracy", "test/loss", "val/loss", "train/loss")},
                cost={name: dice.random() for name in ("seconds", "cpu_seconds", "peak_memory", "parameters", "steps")},
                provenance={"packages": {f"package-{n}": "1.2.3" for n in range(40)}, "hardware": {"cpu": "x" * 60}})
            for i in range(size)
        ], batch_size=500)
    return user, ids[0], ids[-1]


def milliseconds(get: Callable[[str], Any], path: str) -> float:
    """Median of `TURNS`, after two that warm up."""
    times = []
    for turn in range(TURNS + 2):
        start = time.perf_counter()
        response = get(path)
        if response.status_code != 200:
            raise SystemExit(f"{path}: {response.status_code}")
        if turn > 1:
            times.append(time.perf_counter() - start)
    return 1000 * median(times)


def run() -> dict[str, float]:
    set_up_django()
    from assay.accounts.models import Token
    from assay.metrics.store import store
    from django.test import Client
    from django.urls import reverse

    store().create()
    user, large, small = fill()
    _, token = Token.issue(user, "bench")
    api = Client(headers={"Authorization": f"Bearer {token}"}, SERVER_NAME="localhost")
    pages = Client(SERVER_NAME="localhost")
    pages.force_login(user)
    return {
        "API, first page of /runs by a metric": milliseconds(api.get, "/api/v1/runs?sort=-summary.test/accuracy"),
        "experiment page, 20 runs": milliseconds(pages.get, reverse("experiment", args=[small])),
        "experiment page, 2,000 runs": milliseconds(pages.get, reverse("experiment", args=[large])),
    }


if __name__ == "__main__":
    print(json.dumps(run()))
