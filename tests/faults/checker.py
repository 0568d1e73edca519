"""What must be true after a campaign, as functions of what was found: see evidence.py for where it is found."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from assay.experiments.models import State
from assay.experiments.state import ENDED, MOVES

from tests.faults.plugin.endure.known import content, value

Curve = tuple[list[int], list[float]]  # steps, values


@dataclass(frozen=True)
class Violation:
    """`count`: how many points, files or processes."""

    rule: str
    where: str
    what: str
    count: int = 1

    def __str__(self) -> str:
        return f"{self.rule}: {self.where}: {self.what}"


@dataclass(frozen=True)
class Kept:
    """An artifact's row, and the file it names (None: there is none)."""

    name: str
    attempt: int
    size: int
    sha256: str
    content: bytes | None


@dataclass(frozen=True)
class Seen:
    """One run as the campaign left it. `moves`: (old, new, attempt), oldest first; `curves`: attempts merged."""

    id: int
    state: str
    attempt: int
    leased: bool
    ended: bool  # whether it has an end's time
    spec: dict[str, Any]
    moves: Sequence[tuple[str, str, int]]
    curves: dict[str, Curve] = field(default_factory=dict)
    artifacts: Sequence[Kept] = ()


@dataclass(frozen=True)
class Judged:
    """A claim's experiment: when it was judged, by whom it is leased, its verdicts, how its runs ended."""

    experiment: int
    judged: bool
    leased: bool
    verdicts: Sequence[tuple[str, float | None]]  # state, measured
    parts: int
    states: Sequence[str]


@dataclass(frozen=True)
class Left:
    """What nobody needs any more and is there all the same."""

    processes: Sequence[str] = ()
    files: Sequence[str] = ()


def check(runs: Iterable[Seen], judged: Iterable[Judged], left: Left, accepted: Sequence[int],
          experiments: Sequence[int]) -> list[Violation]:
    """All violations. `accepted`: the experiments that the client was told of; `experiments`: those that are there."""
    found = list(submissions(accepted, experiments)) + list(leftovers(left))
    for run in runs:
        for rule in (history, leases, points, artifacts):
            found += rule(run)
    for one in judged:
        found += verdicts(one)
    return found


def submissions(accepted: Sequence[int], experiments: Sequence[int]) -> Iterator[Violation]:
    """What was accepted is there, and nothing else."""
    for number in set(accepted) - set(experiments):
        yield Violation("lost submission", f"experiment {number}", "was accepted and is not there")
    for number in set(experiments) - set(accepted):
        yield Violation("doubled submission", f"experiment {number}", "is there and was never accepted")


def history(run: Seen) -> Iterator[Violation]:
    """From queued to one end, by legal moves, each from where the last one led; attempts count the starts."""
    at, attempt, ends = str(State.QUEUED), 0, 0
    for old, new, number in run.moves:
        if old != at or State(new) not in MOVES[State(old)]:
            yield Violation("illegal history", f"run {run.id}", f"{old} -> {new} from {at}")
        attempt += new == State.RUNNING
        if number != attempt:
            yield Violation("illegal history", f"run {run.id}", f"{old} -> {new} as attempt {number}, not {attempt}")
        at, ends = new, ends + (new in ENDED)
    if ends != 1:
        yield Violation("not ended once", f"run {run.id}", f"ended {ends} times", abs(ends - 1))
    if (run.state, run.attempt) != (at, attempt):
        yield Violation("illegal history", f"run {run.id}",
                        f"is {run.state}, attempt {run.attempt}; its history says {at}, attempt {attempt}")
    if not run.ended:
        yield Violation("not ended once", f"run {run.id}", "has no time at which it ended")


def leases(run: Seen) -> Iterator[Violation]:
    if run.leased:
        yield Violation("orphan lease", f"run {run.id}", f"is {run.state} and leased")


# -- points --------------------------------------------------------------------------------------------


def points(run: Seen) -> Iterator[Violation]:
    """A run that succeeded has exactly the points it reported, in their order; another one the first of them."""
    for key, reported in expected(run).items():
        kept = run.curves.get(key, ([], []))
        if run.state != State.SUCCEEDED:
            reported = (reported[0][: len(kept[0])], reported[1][: len(kept[0])])
        yield from _compared(f"run {run.id}, {key}", kept, reported)


def _compared(where: str, kept: Curve, reported: Curve) -> Iterator[Violation]:
    has, should = (Counter(zip(*curve, strict=True)) for curve in (kept, reported))
    if lost := sum((should - has).values()):
        first = min(should - has)
        yield Violation("lost point", where, f"{lost} of {len(reported[0])} are missing, first {first}", lost)
    if doubled := sum((has - should).values()):
        first = min(has - should)
        yield Violation("doubled point", where, f"{doubled} too many, first {first}", doubled)
    if not lost and not doubled and kept != reported:
        yield Violation("disordered points", where, "all are there, in another order")


def expected(run: Seen) -> dict[str, Curve]:
    """By key what the run reported: known from the parameters alone, or told by the run's own artifact."""
    method, engine = run.spec["method"], run.spec["engine"]
    if engine == "endure":
        steps = list(range(1, method["steps"] + 1))
        return {f"k{key}": (steps, [value(key, step, run.spec["seed"]) for step in steps])
                for key in range(method["keys"])}
    if run.state != State.SUCCEEDED:
        return {}
    if engine == "search":  # one report an evaluation, as long as there are at most 200; its steps are known
        steps = list(range(1, int(run.spec["budget"]["evaluations"]) + 1))
        kept = run.curves.get("unique", ([], []))
        return {"unique": (steps, [dict(zip(*kept, strict=True)).get(step, 0.0) for step in steps])}
    return {"loss": _drawn(run)} if run.attempt == 1 else {}


def _drawn(run: Seen) -> Curve:
    """The training loss in the figure that an optimizer's run draws of what it reported."""
    for kept in run.artifacts:
        if kept.name.startswith("curves") and kept.attempt == run.attempt and kept.content is not None:
            trace = json.loads(kept.content)["data"][0]
            return trace["x"], trace["y"]
    return [], []


# -- artifacts, claims, leftovers ------------------------------------------------------------------------


def artifacts(run: Seen) -> Iterator[Violation]:
    """Every row's file is there and is what the row says; a run that succeeded has those it left."""
    for kept in run.artifacts:
        where = f"run {run.id}, {kept.name} of attempt {kept.attempt}"
        if kept.content is None:
            yield Violation("bad artifact", where, "its file is not there")
        elif (len(kept.content), hashlib.sha256(kept.content).hexdigest()) != (kept.size, kept.sha256):
            yield Violation("bad artifact", where, "its file is not what its row says")
    if run.state == State.SUCCEEDED:
        mine = {kept.name: kept.content for kept in run.artifacts if kept.attempt == run.attempt}
        ballast = run.spec["method"].get("ballast", 0)
        if ballast and mine.get("ballast.bin") != content(ballast, run.spec["seed"]):
            yield Violation("bad artifact", f"run {run.id}, ballast.bin", "is not what the run left")
        if run.spec["engine"] == "optimizers" and "curves.plotly.json" not in mine:
            yield Violation("bad artifact", f"run {run.id}, curves.plotly.json", "is not there")


def verdicts(one: Judged) -> Iterator[Violation]:
    """Judged once; and when all of its runs succeeded, the judge found every point."""
    where = f"claim of experiment {one.experiment}"
    if not one.judged or len(one.verdicts) != one.parts:
        yield Violation("not judged once", where, f"judged: {one.judged}; {len(one.verdicts)} of {one.parts} verdicts")
    if one.leased:
        yield Violation("orphan lease", where, "is leased to a judge")
    if set(one.states) == {State.SUCCEEDED} and any(state != "holds" for state, _ in one.verdicts):
        yield Violation("judged too early", where, f"{list(one.verdicts)}")


def leftovers(left: Left) -> Iterator[Violation]:
    for process in left.processes:
        yield Violation("orphan process", process, "lives on")
    for file in left.files:
        yield Violation("orphan file", file, "was left behind")
