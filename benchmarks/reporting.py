"""An engine whose methods do nothing but report, offered to runs by an entry point (see `plug_in`)."""

import time
from pathlib import Path
from typing import Any, ClassVar

from engines.core.context import Context
from engines.core.method import Method
from engines.core.metric import Metric
from engines.core.problem import Problem
from engines.core.registry import Engine
from engines.core.spec import param

from .points import KEYS, STEPS, curves

LONGEST_WAIT = 120.0  # seconds for the other runs to be ready
TICK = 0.02  # seconds between what `steady` reports at once


class Nothing(Problem):
    """Nothing is to be solved."""

    id: ClassVar[str] = "nothing"
    title: ClassVar[str] = "Nothing"
    metrics: ClassVar[tuple[Metric, ...]] = (Metric("key0"),)


class Reporting(Method):
    """Reports 10 metrics at each of 1,000 steps, as fast as it can, from the moment that a file appears."""

    id: ClassVar[str] = "reporting"
    title: ClassVar[str] = "Reporting"
    gate: str = param("", "path of the file to wait for; a file of the run's own beside it says that it waits")

    def run(self, problem: Any, context: Context) -> None:
        values = [dict(zip((f"key{key}" for key in range(KEYS)), row, strict=True))
                  for row in curves(context.seed).T.tolist()]
        gate = Path(self.gate)
        gate.with_name(f"ready-{context.seed}").touch()
        deadline = time.monotonic() + LONGEST_WAIT
        while not gate.exists() and time.monotonic() < deadline:
            time.sleep(0.002)
        begun = time.monotonic()
        for step in range(STEPS):
            context.report(step, **values[step])
        context.finish(begun=begun, reported=time.monotonic(), key0=values[-1]["key0"])


class Steady(Method):
    """Reports 10 metrics at an even rate; metric k is step + k."""

    id: ClassVar[str] = "steady"
    title: ClassVar[str] = "Steady"
    rate: float = param(1000.0, "points a second, with the run's own seconds at each step", gt=0, le=1e6)
    length: float = param(60.0, "seconds", gt=0, le=86400)

    def run(self, problem: Any, context: Context) -> None:
        begun = time.monotonic()
        step = 0
        while (passed := time.monotonic() - begun) < self.length:
            while step < passed * self.rate / (KEYS + 1):
                context.report(step, **{f"key{key}": float(step + key) for key in range(KEYS)})
                step += 1
            context.progress(passed, self.length)
            time.sleep(TICK)
        context.finish(key0=float(step), steps=step)


engine = Engine("benchmark", "Benchmark", "Reports numbers.", "benchmarks.reporting")
engine.problems[Nothing.id] = Nothing
engine.methods |= {method.id: method for method in (Reporting, Steady)}


def plug_in(folder: Path) -> None:
    """Write into `folder` what makes this engine an installed plug-in for every Python that has it on its path."""
    info = folder / "assay_benchmark-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: assay-benchmark\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[assay.engines]\nbenchmark = benchmarks.reporting:engine\n")
