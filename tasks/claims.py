"""Judge claims; and run their specs in local processes: what `manage.py claim` does without a server."""

import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

from assay.metrics.store import Unavailable

from engines.core import Claim, MissingBackend, Part, Result, RunSpec, Verdict, run_spec
from engines.core.claim import State
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


def print_to_stderr() -> None:
    """What methods print must not stand among the JSON on standard output."""
    os.dup2(2, 1)


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
        with ProcessPoolExecutor(min(size, len(group)), mp_context=context, initializer=print_to_stderr) as pool:
            waiting: dict[Future[Result | Failure], RunSpec] = {
                pool.submit(execute_quietly, spec.model_dump_json()): spec for spec in group}
            for future in as_completed(waiting):
                found[waiting[future].hash()] = future.result()
                on_done(len(found), len(specs))
    return found


def judge(claim: Claim, outcomes: Mapping[str, Result | Failure]) -> list[Judged]:
    """Every part from what became of its runs, by spec hash: here and on the platform the same."""
    return [judge_part(part, outcomes) for part in claim.parts]


def judge_part(part: Part, outcomes: Mapping[str, Result | Failure]) -> Judged:
    """A part with a failed run is not run (or lacks a backend), with that run's message.

    Raises `Unavailable` when the curves are in a metric store that is away.
    """
    found = {key: outcomes[key] for key in (spec.hash() for spec in part.runs) if key in outcomes}
    results = {key: one for key, one in found.items() if isinstance(one, Result)}
    failures = [one for one in found.values() if isinstance(one, Failure)]
    seconds = sum(result.cost.get("wall_seconds", 0.0) for result in results.values())
    if failures:
        missing = next((one for one in failures if one.backend_missing), None)
        verdict = no_verdict((missing or failures[0]).message, "backend missing" if missing else "not run")
    else:
        try:
            verdict = part.judge(results)
            if verdict.state not in get_args(State):
                raise ValueError(f"unknown state {verdict.state!r}")
        except Unavailable:  # a curve could not be read: that says nothing of the part
            raise
        except Exception as error:  # its author's slip must not hide the other parts' verdicts
            verdict = no_verdict(f"its verdict raised {type(error).__name__}: {error}")
    return Judged(part.name, verdict, seconds)


def no_verdict(note: str, state: State = "not run") -> Verdict:
    return Verdict(float("nan"), None, "", state, note)


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
