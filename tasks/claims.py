"""Run a claim's specs in local processes and judge them: what `manage.py claim` does without a server."""

import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from engines.core import Claim, MissingBackend, Result, RunSpec, Verdict, run_spec
from engines.core.provenance import cpu_model


@dataclass(frozen=True)
class Judged:
    """One part of a claim after its runs. `seconds`: wall seconds of its runs, added up (they may share runs)."""

    name: str
    verdict: Verdict
    seconds: float


@dataclass(frozen=True)
class Failure:
    """A run that raised."""

    message: str
    backend_missing: bool


def execute_quietly(text: str) -> Result | Failure:
    """Run one spec (JSON) in this process; its artifacts are thrown away."""
    with tempfile.TemporaryDirectory(prefix="assay-claim-") as folder:
        try:
            return run_spec(RunSpec.model_validate_json(text), folder=Path(folder))
        except Exception as error:  # any failure makes the part "not run", with this message
            return Failure(f"{type(error).__name__}: {error}", isinstance(error, MissingBackend))


def execute_all(
    specs: list[RunSpec], processes: int, on_done: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Result | Failure]:
    """Results by spec hash. Specs that ask for the machine (`resources.exclusive`) run alone, after the others."""
    found: dict[str, Result | Failure] = {}
    shared = [spec for spec in specs if not spec.resources.exclusive]
    alone = [spec for spec in specs if spec.resources.exclusive]
    for group, size in ((shared, processes), (alone, 1)):
        if not group:
            continue
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(size, len(group)), mp_context=context) as pool:
            waiting: dict[Future[Result | Failure], RunSpec] = {
                pool.submit(execute_quietly, spec.model_dump_json()): spec for spec in group}
            for future in as_completed(waiting):
                found[waiting[future].hash()] = future.result()
                on_done(len(found), len(specs))
    return found


def judge(claim: Claim, outcomes: dict[str, Result | Failure]) -> list[Judged]:
    results = {key: value for key, value in outcomes.items() if isinstance(value, Result)}
    verdicts = claim.judge(results)
    judged = []
    for part in claim.parts:
        verdict = verdicts[part.name]
        failures = [outcome for spec in part.runs if isinstance(outcome := outcomes.get(spec.hash()), Failure)]
        if failures:
            state = "backend missing" if any(failure.backend_missing for failure in failures) else "not run"
            verdict = Verdict(float("nan"), None, "", state, failures[0].message)  # type: ignore[arg-type]
        hashes = {spec.hash() for spec in part.runs}
        seconds = sum(results[key].cost["wall_seconds"] for key in hashes if key in results)
        judged.append(Judged(part.name, verdict, seconds))
    return judged


def run_claim(
    claim: Claim, processes: int | None = None, on_done: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[list[Judged], float]:
    """The judged parts, and the wall seconds that the whole claim took."""
    started = time.perf_counter()
    outcomes = execute_all(claim.specs(), processes or os.cpu_count() or 1, on_done)
    return judge(claim, outcomes), time.perf_counter() - started


def as_json(claim: Claim, parts: list[Judged]) -> dict[str, Any]:
    """The agreed shape; a number that is not finite becomes null."""
    def number(value: float | None) -> float | None:
        return value if value is not None and abs(value) < float("inf") else None

    return {"system": claim.system, "parts": [
        {"name": part.name, "measured": number(part.verdict.measured), "threshold": part.verdict.threshold,
         "unit": part.verdict.unit, "verdict": part.verdict.state, "seconds": round(part.seconds, 2),
         "note": part.verdict.note}
        for part in parts
    ]}


def report(engine: str, judged: list[tuple[Claim, list[Judged], float]]) -> str:
    """The Markdown page docs/claims/<engine>.md."""
    hardware = f"{os.cpu_count()} cores, {cpu_model()}"
    date = datetime.now(UTC).date().isoformat()
    lines = [f"# Claims of the {engine} engine", "",
             f"Written by `python manage.py claim --engine {engine} --report` on {date}, on {hardware}.", "",
             "`seconds` of a part are those of its runs, added up; parts share runs. The line above each table says "
             "how long the whole claim took."]
    for claim, parts, seconds in judged:
        lines += ["", f"## {claim.system}", "", claim.statement, "", f"The paper: {claim.headline}.", "",
                  f"`python manage.py claim {claim.system}`: {len(claim.specs())} runs in {seconds:.0f} s.", "",
                  "| part | threshold | measured | verdict | seconds | hardware | date |",
                  "| --- | --- | --- | --- | --- | --- | --- |"]
        for part in parts:
            threshold = "-" if part.verdict.threshold is None else f"{part.verdict.threshold:g} {part.verdict.unit}"
            lines.append(f"| {part.name} | {threshold} | {part.verdict.measured:.4g} {part.verdict.unit} | "
                         f"{part.verdict.state} | {part.seconds:.0f} | {hardware} | {date} |")
        lines += ["", *(f"- {part.name}: {part.verdict.note}." for part in parts if part.verdict.note)]
    return "\n".join(lines) + "\n"
