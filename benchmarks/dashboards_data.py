"""The store that `benchmarks.dashboards` asks: rows written in bulk, just as the metric writer would have left them.

Curves are noisy exponentials in single precision, 64 different ones; a run's own are shifted by its number.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np

WIDE_RUNS, WIDE_KEYS, WIDE_STEPS = 1_500, 20, 2_000
LONG_RUNS, LONG_STEPS = 200, 10_000
NAMES, NAMES_STEPS = 12_000, 20
FRONT_RUNS = 10_000
LOAD_RUNS, LOAD_KEYS, LOAD_STEPS = 1_500, 1_500, 20  # one of the 50 experiments of FastTrackML's issue 860
METHODS = ("adamw", "lamb", "nadamw", "sgd")
METRICS = [
    {"name": "val/accuracy", "unit": "", "direction": "max", "title": "accuracy"},
    {"name": "val/loss", "unit": "nats", "direction": "min", "title": "loss"},
    {"name": "val/size", "unit": "B", "direction": "min", "title": "size"},
]
AT_ONCE = 20_000  # rows in one statement


@dataclass(frozen=True)
class Filled:
    """The ids of the experiments, and of the run with many names."""

    user: Any
    wide: int
    long: int
    front: int
    load: int
    names: int


def fill() -> Filled:
    """A project with all of it. Needs Django set up, on SQLite."""
    from assay.accounts.models import Membership, Project, Role, User
    from assay.catalogue.models import Engine, Method, Problem

    user = User.objects.create_user("bench")
    project = Project.objects.create(slug="bench", name="Bench")
    Membership.objects.create(project=project, user=user, role=Role.ADMIN)
    engine = Engine.objects.create(id="bench", title="Bench")
    Problem.objects.create(engine=engine, name="digits", title="Digits", schema={}, version="1", metrics=METRICS)
    for name in METHODS:
        Method.objects.create(engine=engine, name=name, title=name, schema={}, version="1")

    wide, wide_runs = _experiment(user, project, "1,500 runs", WIDE_RUNS)
    long, long_runs = _experiment(user, project, "200 long runs", LONG_RUNS)
    front, _ = _experiment(user, project, "10,000 runs", FRONT_RUNS)
    load, load_runs = _experiment(user, project, "1,500 runs x 1,500 metrics", LOAD_RUNS)
    _, names = _experiment(user, project, "12,000 names", 1)
    keys = [metric["name"] for metric in METRICS] + [f"extra/{n}" for n in range(WIDE_KEYS - len(METRICS))]
    many = [metric["name"] for metric in METRICS] + [f"task{n // 10}/score{n % 10}" for n in range(LOAD_KEYS - 3)]
    layers = [f"layers.{n // 40}.{('weight', 'bias')[n % 2]}/{('norm', 'grad')[n // 2 % 2]}{n % 40 // 4}"
              for n in range(NAMES)]
    _write(_series(wide_runs, keys, WIDE_STEPS), _series(long_runs, ["val/loss", "seconds"], LONG_STEPS),
           _series(load_runs, many, LOAD_STEPS), _series(names, layers, NAMES_STEPS))
    return Filled(user, wide, long, front, load, names[0])


def curve(number: int, steps: int) -> np.ndarray:
    """Curve `number` of 64, shape (steps,)."""
    noise = np.random.default_rng(number % 64).normal(0, 0.02, steps)
    return (np.exp(-5 * np.arange(steps) / steps) + noise + 0.1).astype(np.float32).astype(np.float64)


def _experiment(user: Any, project: Any, name: str, size: int) -> tuple[int, list[int]]:
    from assay.experiments.models import Experiment, Run
    from django.utils import timezone

    dice, now = np.random.default_rng(size), timezone.now()
    problem, budget = {"id": "digits", "size": "quick"}, {"steps": WIDE_STEPS}
    methods = [{"id": method, "lr": 10.0**-power} for power in range(1, 6) for method in METHODS]
    made = Experiment.objects.create(
        project=project, owner=user, name=name, engine="bench", problem=problem, methods=methods,
        seeds=list(range(-(-size // len(methods)))), budget=budget, resources={"queue": "cpu"}, tags=["bench"])
    values = dice.random((size, 5)).round(6).tolist()
    Run.objects.bulk_create((
        Run(experiment=made, index=i + 1, engine="bench", problem="digits", method=methods[i % 20]["id"],
            label=f"{methods[i % 20]['id']} lr={methods[i % 20]['lr']:g}", seed=i // 20, version="1",
            spec_hash="0" * 64, state="succeeded", attempt=1, started_at=now, ended_at=now, progress=1.0,
            spec={"engine": "bench", "problem": problem, "method": methods[i % 20], "seed": i // 20, "budget": budget,
                  "resources": {"queue": "cpu", "cores": 1, "gpus": 0, "labels": []}},
            summary={metric["name"]: values[i][at] for at, metric in enumerate(METRICS)},
            cost={"seconds": values[i][3], "peak_memory": 1e8 * values[i][4]},
            provenance={"packages": {f"package-{n}": "1.2.3" for n in range(40)}})
        for i in range(size)), batch_size=500)
    return made.pk, list(made.runs.order_by("index").values_list("pk", flat=True))


def _series(runs: Sequence[int], keys: Sequence[str], steps: int) -> Iterator[tuple[int, str, int, int]]:
    """(run, key, which curve, steps) of each."""
    return ((run, key, at + 7 * run, steps) for run in runs for at, key in enumerate(keys))


def _write(*groups: Iterable[tuple[int, str, int, int]]) -> None:
    from assay.metrics import schema
    from assay.metrics.store import store

    store().create()
    payloads: dict[tuple[int, int], list[dict[str, Any]]] = {}
    numbers = count(1)
    series: list[dict[str, Any]] = []
    chunks: list[dict[str, Any]] = []
    with store().writing() as connection:
        for run, key, which, steps in (one for group in groups for one in group):
            if (which % 64, steps) not in payloads:
                payloads[which % 64, steps] = _chunks(which, steps)
            curves = payloads[which % 64, steps]
            number = next(numbers)
            last = curves[-1]
            series.append({"id": number, "kind": "run", "owner": run, "key": key, "attempt": 1, "n": steps,
                           "first_step": 0, "last_step": steps - 1, "last_bits": last["bits"], "min": 0.05, "max": 1.2})
            chunks += [{"series": number, **{k: v for k, v in part.items() if k != "bits"}} for part in curves]
            if len(series) >= AT_ONCE:
                connection.execute(schema.series.insert(), series)
                connection.execute(schema.chunk.insert(), chunks)
                series, chunks = [], []
        if series:
            connection.execute(schema.series.insert(), series)
            connection.execute(schema.chunk.insert(), chunks)


def _chunks(which: int, steps: int) -> list[dict[str, Any]]:
    """The rows of one curve's chunks, and the bits of its last value."""
    from assay.metrics.codec import encode
    from assay.metrics.schema import CHUNK

    values, along = curve(which, steps), np.arange(steps, dtype=np.int64)
    return [
        {"seq": at // CHUNK, "n": len(along[at:at + CHUNK]), "first_step": at,
         "last_step": int(along[at:at + CHUNK][-1]), "payload": encode(along[at:at + CHUNK], values[at:at + CHUNK]),
         "bits": int(values[-1:].view(np.int64)[0])}
        for at in range(0, steps, CHUNK)
    ]
