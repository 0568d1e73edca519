"""Judging the claims that the platform has run: from rows and points to what a claim's verdicts take, and back.

This module itself imports neither torch nor the engines: `maintenance` uses it to start the process that does.
"""

import logging
import math
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay.claims import verdicts
from assay.claims.models import Judgement, Verdict
from assay.experiments.models import Run, State
from assay.metrics import reader
from assay.metrics.store import Unavailable, store
from django.conf import settings

from .database import Away, drop_connection, persist
from .text import storable

if TYPE_CHECKING:
    from engines.core import Claim, Result

    from .claims import Failure, Judged

logger = logging.getLogger(__name__)
ROOT = Path(__file__).resolve().parents[1]
TRIES = 5  # those that ended with their judge's process among them
NEVER = threading.Event()  # asks nothing to stop
WORDS = {
    State.FAILED: "failed", State.CANCELLED: "cancelled", State.TIMED_OUT: "ran into its time limit",
    State.LOST: "its node vanished",
}


# -- the process -------------------------------------------------------------------------------------------


class Judge:
    """At most one `manage.py judge` at a time, started when something is due; it dies with the thread that made it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def call(self) -> "subprocess.Popen[bytes] | None":
        """Start one if something is due and ours has ended; the process that is at work, if there is one."""
        if self._process is not None and self._process.poll() is None:
            return self._process
        self._process = None
        if verdicts.due().exists():
            line = [sys.executable, "-SE", str(Path(__file__).with_name("leash.py")), str(os.getpid()), "SIGKILL",
                    sys.executable, str(ROOT / "manage.py"), "judge"]
            self._process = subprocess.Popen(line, stdin=subprocess.DEVNULL)  # noqa: S603
        return self._process


def judge_due() -> int:
    """Judge what is due, one claim after the other; how many were judged.

    A claim that cannot be judged (its engine is not here, a fault in the code) is tried again later, here or
    elsewhere, `TRIES` times in all; then its parts are not run, and say why. While a database is away, tries do not
    count.
    """
    count = 0
    while judgement := persist(verdicts.take, NEVER):
        found = _given_up(judgement) if judgement.attempt > TRIES else _try(judgement)
        if found is not None:
            count += bool(persist(partial(verdicts.record, judgement, found), NEVER))
            logger.info("judged %s", judgement, extra={"experiment": judgement.experiment_id})
    return count


def _try(judgement: Judgement) -> list[Verdict] | None:
    """None when it has to be tried again."""
    try:
        with leased(judgement):
            return judge(judgement)
    except (*Away, *Unavailable) as error:
        problem = f"the {'metric store' if isinstance(error, Unavailable) else 'database'} is away"
        logger.warning("judging %s: %s", judgement, problem)
        persist(partial(verdicts.postponed, judgement, problem), NEVER)
    except Exception as error:
        logger.exception("judging %s", judgement, extra={"experiment": judgement.experiment_id})
        persist(partial(verdicts.failed, judgement, storable(f"{type(error).__name__}: {error}")), NEVER)
    return None


@contextmanager
def leased(judgement: Judgement) -> Iterator[None]:
    """Renew the lease meanwhile: a verdict may take longer than one, and a second judge would count as a try."""
    done = threading.Event()

    def renew() -> None:
        while not done.wait(settings.LEASE.total_seconds() / 3):
            try:
                verdicts.renew(judgement)
            except Away as error:
                logger.warning("lease not renewed, database away: %s", str(error).strip().split("\n", 1)[0])
                drop_connection()
        drop_connection()

    thread = threading.Thread(target=renew, name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _given_up(judgement: Judgement) -> list[Verdict]:
    reason = judgement.problem or "the process that judged it ended without a word"
    return [
        Verdict(judgement=judgement, index=index, part=part["name"], state="not run", seconds=0.0,
                note=f"could not be judged: {reason}")
        for index, part in enumerate(judgement.parts, 1)
    ]


# -- the verdicts ------------------------------------------------------------------------------------------


def judge(judgement: Judgement) -> list[Verdict]:
    """Unsaved verdicts by the engines that are here. Raises `LookupError` when they know no such claim."""
    from .claims import judge_part

    claim = _claim(judgement)
    runs = list(judgement.experiment.runs.select_related("node").order_by("index"))
    by_spec = _by_spec(claim, runs)
    found = {key: outcome(run, spec) for key, (run, spec) in by_spec.items()}
    told = []
    for index, part in enumerate(claim.parts, 1):
        mine = {key: by_spec[key][0] for key in (spec.hash() for spec in part.runs) if key in by_spec}
        judged = judge_part(part, found)
        told.append(_row(judgement, index, judged, list(mine.values()), len(mine) < len({s.hash() for s in part.runs})))
    return told


def _claim(judgement: Judgement) -> "Claim":
    from engines.core import engines

    engine = engines().get(judgement.engine)
    claim = engine.claims.get(judgement.system) if engine else None
    if claim is None:
        raise LookupError(f"no claim {judgement.system!r} of an engine {judgement.engine!r} is installed here")
    return claim


def _by_spec(claim: "Claim", runs: Sequence[Run]) -> dict[str, tuple[Run, Any]]:
    """By hash of the claim's own spec: the run that has all of its parameters, and that spec.

    Both sides are resolved by the same code: a claim that was changed since finds no run for what it changed.
    """
    from engines.core import InvalidSpec, RunSpec

    by_work: dict[str, Run] = {}
    for run in runs:
        try:
            by_work[RunSpec.model_validate(run.spec).resolved().hash()] = run
        except (InvalidSpec, ValueError):  # a parameter that is no more
            continue
    wanted = {spec.hash(): (spec.resolved().hash(), spec) for spec in claim.specs()}
    return {key: (by_work[work], spec) for key, (work, spec) in wanted.items() if work in by_work}


def outcome(run: Run, spec: Any) -> "Result | Failure":
    """What became of a run that has ended, as if `spec` had been run here."""
    from engines.core import Result

    from .claims import Failure

    if run.state != State.SUCCEEDED:
        why = f"{run.failure_kind}: {run.failure_message}" if run.failure_kind else WORDS[State(run.state)]
        return Failure(f"run {run.index}, {run.label}, seed {run.seed}: {why}", run.failure_kind == "missing backend")
    return Result(spec, _numbers(run.summary), _numbers(run.cost), Series(run.pk), {}, run.provenance)


def _numbers(kept: Mapping[str, Any]) -> dict[str, float]:
    """What is kept as null was not finite."""
    return {name: math.nan if value is None else float(value) for name, value in kept.items()}


class Series(Mapping[str, tuple[Any, Any]]):
    """A run's curves, each read from the metric store when a verdict asks for it."""

    def __init__(self, run: int) -> None:
        self._run = run
        self._names: list[str] | None = None

    def __getitem__(self, name: str) -> tuple[Any, Any]:
        found = reader.series(store(), self._run, name)
        if not len(found):
            raise KeyError(name)
        return found.steps, found.values

    def __iter__(self) -> Iterator[str]:
        if self._names is None:
            self._names = reader.keys(store(), [self._run])[self._run]
        return iter(self._names)

    def __len__(self) -> int:
        return len(list(iter(self)))


def _row(judgement: Judgement, index: int, judged: "Judged", runs: Sequence[Run], changed: bool) -> Verdict:
    verdict = judged.verdict
    note = "the claim was changed after its runs were submitted" if changed and not verdict.note else verdict.note
    return Verdict(
        judgement=judgement, index=index, part=judged.name, state=verdict.state, measured=_finite(verdict.measured),
        threshold=_finite(verdict.threshold), unit=storable(verdict.unit[:100]), note=storable(note),
        seconds=_finite(judged.seconds) or 0.0, hardware=_hardware(runs), versions=_versions(runs),
    )


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


def _hardware(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Each node and processor once, in the order of the runs."""
    found = []
    for run in runs:
        seen = run.provenance.get("hardware", {})
        one = {"node": run.node.name if run.node else ""} | {name: seen.get(name) for name in ("cpu", "cores", "gpu")}
        if seen and one not in found:
            found.append(one)
    return found


def _versions(runs: Sequence[Run]) -> dict[str, str]:
    """By package what the runs had; several are separated by commas."""
    found: dict[str, dict[str, None]] = {}
    for run in runs:
        code = run.provenance.get("code", {})
        named = {"assay": code.get("version"), "commit": code.get("commit"), "python": run.provenance.get("python"),
                 **run.provenance.get("packages", {})}
        for name, version in named.items():
            if version:
                found.setdefault(name, {})[str(version)] = None
    return {name: ", ".join(versions) for name, versions in found.items()}
