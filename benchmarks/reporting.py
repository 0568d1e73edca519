"""An engine whose one method does nothing but report, offered to runs by an entry point (see `plug_in`)."""

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


engine = Engine("benchmark", "Benchmark", "Reports numbers.", "benchmarks.reporting")
engine.problems[Nothing.id] = Nothing
engine.methods[Reporting.id] = Reporting


def plug_in(folder: Path) -> None:
    """Write into `folder` what makes this engine an installed plug-in for every Python that has it on its path."""
    info = folder / "assay_benchmark-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: assay-benchmark\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[assay.engines]\nbenchmark = benchmarks.reporting:engine\n")
