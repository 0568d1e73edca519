"""Execute one spec in this process: the single path for notebooks, the shell and the platform's children."""

import math
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .cache import Cache
from .context import Context, MemoryRecorder, Recorder
from .cost import PeakMemory
from .errors import BudgetSpent, Diverged, EngineError, OutOfMemory
from .provenance import provenance
from .result import Result
from .runspec import RunSpec
from .seeding import seed_everything


@dataclass(frozen=True)
class Outcome:
    summary: dict[str, float]
    cost: dict[str, float]
    provenance: dict[str, Any]


def cache_root() -> Path:
    return Path(os.environ.get("ASSAY_HOME", "var")).resolve() / "cache"


def execute(
    spec: RunSpec, recorder: Recorder, folder: Path, *, device: str = "cpu", made_by: dict[str, Any] | None = None,
    until: int | None = None,
) -> Outcome:
    """Run `spec` on `device` with `spec.resources.cores` threads. `folder` is the run's own. `until`: see `Context`.

    Raises `InvalidSpec`, `Diverged` (a non-finite headline), `MissingData`, `MissingBackend`, `OutOfMemory`,
    `Cancelled`, and whatever the method raises.
    """
    problem, method = spec.resolve()
    torch.set_num_threads(spec.resources.cores)
    where = torch.device(device)
    seed_everything(spec.seed)
    memory, started = PeakMemory(where), time.perf_counter()
    context = Context(
        seed=spec.seed, device=where, budget=spec.budget, recorder=recorder, folder=folder,
        cache=Cache(cache_root()), made_by=made_by or {"spec": spec.hash()},
        until=until,
    )
    try:
        method.run(problem, context)
    except BudgetSpent:
        pass  # an engine that has nothing to do after its budget may simply let it through
    except torch.cuda.OutOfMemoryError as error:
        raise OutOfMemory(str(error)) from error
    headline = problem.headline().name
    if headline not in context.summary:
        raise EngineError(f"{method.id} ended without {headline!r} in its summary (call context.finish)")
    if not math.isfinite(context.summary[headline]):
        raise Diverged(headline, int(context.spent.get("steps", 0)))
    cost = {
        "seconds": context.clock.seconds, "cpu_seconds": context.clock.cpu_seconds,
        "wall_seconds": time.perf_counter() - started,
        **memory.read(), **context.energy.read(), **context.spent, **context.costs,
    }
    return Outcome(context.summary, cost, provenance(type(method), type(problem), where))


def run_spec(
    spec: RunSpec, *, device: str = "cpu", on_progress: Callable[[float, float, str], None] | None = None,
    folder: Path | None = None,
) -> Result:
    """Run `spec` here, keeping its series in memory and its artifacts in `folder` (else a new temporary one)."""
    recorder = MemoryRecorder(on_progress)
    folder = folder or Path(tempfile.mkdtemp(prefix="assay-run-"))
    outcome = execute(spec, recorder, folder, device=device)
    series = {
        name: (np.array([step for step, _ in points], np.int64), np.array([value for _, value in points], np.float64))
        for name, points in recorder.series.items()
    }
    return Result(spec, outcome.summary, outcome.cost, series, recorder.artifacts, outcome.provenance)
