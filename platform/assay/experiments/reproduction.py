"""Does a recorded spec give the same result again? Two runs compared, and the deed that makes the second one.

Summaries and curves decide. Costs and clocks are never equal twice: they are shown beside each other and decide
nothing.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np
from django.db import transaction
from numpy.typing import NDArray

from assay.accounts import audit
from assay.accounts.models import Role, Token, User
from assay.accounts.permissions import require
from assay.catalogue.models import Problem
from assay.metrics import reader
from assay.metrics.reader import Series
from assay.metrics.store import Store

from .models import Experiment, Run
from .state import ENDED
from .submission import Conflict, Invalid, append, check_quota, plan

# Relative, to the larger of the two values. Single precision rounds at 6e-8, so that sums taken in another order stay
# below this for a while; two trajectories that have parted do not.
TOLERANCE = 1e-6
NOTHING = Series(np.empty(0, np.int64), np.empty(0, np.float64))
CLOCKS = frozenset({"seconds", "energy"})  # what every run reports of itself beside its metrics
TIMES = ("s", "ms", "J")  # units of what is not the same twice, as is what is counted per second
TIMED = ("seconds", "per_second")  # so end the names of those times and rates that no problem declares


class Verdict(StrEnum):
    EQUAL = "bit-equal"
    CLOSE = "within tolerance"
    DIFFERS = "differs"


RANK = {verdict: rank for rank, verdict in enumerate(Verdict)}


def worst(verdicts: Sequence[Verdict]) -> Verdict:
    return max(verdicts, key=RANK.__getitem__, default=Verdict.EQUAL)


# -- two runs, metric by metric ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Compared:
    """One metric of both runs: its curve, its summary, or both.

    `points`: of the two curves. `step`: the first at which the curves are not equal bit for bit; `beyond`: the first
    at which they are further apart than the tolerance; None where there is none. `gap`: the largest relative
    difference, in [0, inf], infinite where only one has a point. `clock`: it measures time or energy, and decides
    nothing. `note`: what no number says.
    """

    name: str
    verdict: Verdict
    points: tuple[int, int] = (0, 0)
    step: int | None = None
    beyond: int | None = None
    gap: float = 0.0
    clock: bool = False
    note: str = ""


@dataclass(frozen=True)
class Comparison:
    """`outcome`: whether both ended in the same way; if not, the verdict is "differs" whatever the metrics say."""

    tolerance: float
    outcome: bool
    metrics: Sequence[Compared]

    @property
    def deciding(self) -> list[Compared]:
        return [metric for metric in self.metrics if not metric.clock]

    @property
    def verdict(self) -> Verdict:
        return worst([metric.verdict for metric in self.deciding]) if self.outcome else Verdict.DIFFERS

    @property
    def first(self) -> Compared | None:
        """The metric whose curve is the first to decide the verdict."""
        places = [(place, at) for at, metric in enumerate(self.metrics)
                  if not metric.clock and (place := self.place(metric)) is not None]
        return self.metrics[min(places)[1]] if places else None

    def place(self, metric: Compared) -> int | None:
        """The step that decides: the first beyond the tolerance if any metric has one, else the first that differs."""
        return metric.beyond if self.verdict is Verdict.DIFFERS else metric.step


def compare(store: Store, original: Run, reproduction: Run, tolerance: float = TOLERANCE) -> Comparison:
    """Both runs, which have ended; the problem's own metrics first. Whole series are read, a few keys at a time."""
    declared = _declared(original)
    clocks = CLOCKS | {name for name, unit in declared.items() if unit in TIMES or unit.endswith("/s")}
    found = {
        metric.name: metric for metric in (
            curve(key, series.get(original.pk), series.get(reproduction.pk), tolerance)
            for key, series in _series(store, original, reproduction))
    }
    for name in sorted(original.summary.keys() | reproduction.summary.keys()):
        number = summary(name, original.summary, reproduction.summary, tolerance)
        found[name] = _joined(found[name], number) if name in found else number
    names = [name for name in declared if name in found] + sorted(found.keys() - declared)
    metrics = [replace(found[name], clock=name in clocks or name.endswith(TIMED)) for name in names]
    return Comparison(tolerance, _end(original) == _end(reproduction), metrics)


def _series(store: Store, *runs: Run) -> Iterator[tuple[str, dict[int, Series]]]:
    """None when the curves of one of them were removed: then summaries alone can be compared."""
    if any(run.points_removed_at for run in runs):
        return iter(())
    owners = [run.pk for run in runs]
    names = sorted({key for keys in reader.keys(store, owners).values() for key in keys})
    return reader.by_key(store, owners, names)


def _declared(run: Run) -> dict[str, str]:
    """The units of the metrics that the problem declares, the headline first."""
    problem = Problem.objects.filter(engine=run.engine, name=run.problem).first()
    return {metric["name"]: metric.get("unit", "") for metric in (problem.metrics if problem else [])}


def _end(run: Run) -> tuple[str, str]:
    return run.state, run.failure_kind


def curve(name: str, first: Series | None, second: Series | None, tolerance: float) -> Compared:
    """Two curves, point by point in the order of reporting. A point that only one has is beyond every tolerance."""
    if first is None or second is None:
        whose = "reproduction" if first is None else "original"
        alone = curve(name, first or NOTHING, second or NOTHING, tolerance)
        return replace(alone, note=f"only the {whose} reported it")
    n = min(len(first), len(second))
    together = first.steps[:n] == second.steps[:n]
    a, b = first.values[:n], second.values[:n]
    gaps = np.where(together, relative(a, b), np.inf)
    same = together & (a.view(np.uint64) == b.view(np.uint64))
    step, beyond = _first(same, first, second), _first(same | (gaps <= tolerance), first, second)
    gap = float(gaps.max(initial=0.0)) if len(first) == len(second) else np.inf
    note = "" if together.all() and len(first) == len(second) else "points at other steps"
    verdict = Verdict.EQUAL if step is None else Verdict.CLOSE if beyond is None else Verdict.DIFFERS
    return Compared(name, verdict, (len(first), len(second)), step, beyond, gap, note=note)


def relative(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """|a - b| / max(|a|, |b|): 0 for equal values and two NaN, infinite when one of them is not finite."""
    with np.errstate(all="ignore"):
        gaps = np.abs(a - b) / np.maximum(np.abs(a), np.abs(b))
    gaps[~np.isfinite(a) | ~np.isfinite(b)] = np.inf
    gaps[(a == b) | (np.isnan(a) & np.isnan(b))] = 0.0
    return gaps


def _first(alike: NDArray[np.bool_], first: Series, second: Series) -> int | None:
    """The step of the first point that is not alike; both series begin with `alike`'s points."""
    if not alike.all():
        at = int(alike.argmin())
        return int(min(first.steps[at], second.steps[at]))
    longer = max(first, second, key=len)
    return int(longer.steps[len(alike)]) if len(longer) > len(alike) else None


def summary(name: str, first: Mapping[str, Any], second: Mapping[str, Any], tolerance: float) -> Compared:
    """Two final numbers; one that is not finite is kept as null, and equals another such one."""
    for whose, own, other in (("original", first, second), ("reproduction", second, first)):
        if name in own and name not in other:
            return Compared(name, Verdict.DIFFERS, note=f"only the {whose} has it")
    a, b = (np.nan if values[name] is None else float(values[name]) for values in (first, second))
    if struct.pack("d", a) == struct.pack("d", b):
        return Compared(name, Verdict.EQUAL)
    gap = float(relative(np.array([a]), np.array([b]))[0])
    return Compared(name, Verdict.CLOSE if gap <= tolerance else Verdict.DIFFERS, gap=gap)


def _joined(points: Compared, number: Compared) -> Compared:
    """A metric with a curve and a summary."""
    return replace(points, verdict=worst([points.verdict, number.verdict]), gap=max(points.gap, number.gap),
                   note=points.note or number.note)


# -- why two runs need not be equal --------------------------------------------------------------------------


@dataclass(frozen=True)
class Fact:
    """Something that both runs recorded; `reason`: where it differs, results may."""

    title: str
    original: Any
    reproduction: Any
    reason: bool = True

    @property
    def same(self) -> bool:
        return bool(self.original == self.reproduction)

    @property
    def shown(self) -> tuple[str, str]:
        """Both as a person reads them: hashes cut, what was not recorded as a dash."""
        return _short(self.original), _short(self.reproduction)


HARDWARE = (("cpu", "processor"), ("gpu", "GPU"), ("machine", "architecture"), ("threads", "threads"),
            ("cores", "cores of the machine"), ("system", "system"))
CODE = (("version", "version of the code"), ("commit", "commit"), ("method_sha256", "method's source"),
        ("problem_sha256", "problem's source"))
HARMLESS = ("cores", "system", "commit")  # by themselves they change no result: the sources' hashes tell of changes


def versions(original: Run, reproduction: Run) -> list[Fact]:
    """Code, Python and packages of both."""
    def both(*path: str) -> tuple[Any, Any]:
        return _at(original.provenance, path), _at(reproduction.provenance, path)

    facts = [Fact("method's version", original.version, reproduction.version)]
    facts += [Fact(title, *both("code", key), reason=key not in HARMLESS) for key, title in CODE]
    facts.append(Fact("Python", *both("python")))
    packages = _packages(original) | _packages(reproduction)
    facts += [Fact(name, *both("packages", name)) for name in sorted(packages)]
    return _told(facts)


def hardware(original: Run, reproduction: Run) -> list[Fact]:
    """Where both ran, and on how much of it."""
    kinds = {run.device.rstrip("0123456789,") for run in (original, reproduction)}
    facts = [Fact("node", _node(original), _node(reproduction), reason=False),
             Fact("device", original.device, reproduction.device, reason=len(kinds) > 1)]
    facts += [Fact(title, _at(original.provenance, ("hardware", key)), _at(reproduction.provenance, ("hardware", key)),
                   reason=key not in HARMLESS) for key, title in HARDWARE]
    facts.append(Fact("attempts", original.attempt, reproduction.attempt, reason=False))
    return _told(facts)


def _node(run: Run) -> Any:
    return run.node.name if run.node else _at(run.provenance, ("node",))


def _at(found: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _packages(run: Run) -> set[str]:
    return set(_at(run.provenance, ("packages",)) or ())


def _told(facts: list[Fact]) -> list[Fact]:
    """Those that at least one run recorded."""
    return [fact for fact in facts if fact.original not in (None, "") or fact.reproduction not in (None, "")]


def reasons(original: Run, reproduction: Run) -> list[str]:
    """Why the two need not be equal, in sentences; empty when nothing that was recorded tells them apart."""
    found = []
    for fact in [*versions(original, reproduction), *hardware(original, reproduction)]:
        if fact.reason and not fact.same and fact.original not in (None, "") and fact.reproduction not in (None, ""):
            found.append(f"Another {fact.title}: {fact.shown[0]}, then {fact.shown[1]}.")
    if original.spec_hash != reproduction.spec_hash:
        changed = _changed(original.spec, reproduction.spec)
        found.append(f"The catalogue's parameters have changed since: {', '.join(changed)}.")
    if "seconds" in original.spec.get("budget", {}):
        found.append("The budget is in seconds: how many steps they allow depends on the machine and what else it did.")
    if original.device != "cpu" and reproduction.device != "cpu" and original.device and reproduction.device:
        found.append("Both ran on GPUs, some of whose kernels add up in no fixed order.")
    for name, run in (("original", original), ("reproduction", reproduction)):
        if run.attempt > 1:
            found.append(f"The {name} took {run.attempt} attempts: a later one may go on from a checkpoint.")
        if run.state in ("cancelled", "timed_out", "lost"):
            found.append(f"The {name} was stopped from outside ({run.get_state_display().lower()}).")
    return found


def _short(value: Any) -> str:
    text = "–" if value in (None, "") else str(value)
    return text[:12] if len(text) == 64 and text.isalnum() else text  # a hash


def _changed(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """The names of a spec's parameters that are not alike: "method.lr"."""
    names = [(part, key) for part in ("problem", "method", "budget", "resources")
             for key in sorted({*first.get(part, {}), *second.get(part, {})})]
    return [f"{part}.{key}" for part, key in names
            if first.get(part, {}).get(key) != second.get(part, {}).get(key)]


# -- the deed ------------------------------------------------------------------------------------------------


def reproduce(run: Run, user: User, token: Token | None = None) -> Run:
    """Run the recorded spec once more, on the same resources, as an experiment of one run that names the original.

    Raises `Conflict` for a run that has not ended, `Invalid` (fields) when the catalogue no longer takes its spec,
    `OverQuota`, `Http404`, `PermissionDenied`.
    """
    old, spec = run.experiment, run.spec
    require(user, Role.EDITOR, old.project, token)
    if run.state not in ENDED:
        raise Conflict("it has not ended: there is nothing yet to be equal to")
    if run.resume_from is not None and run.resume_from.removed_at is not None:
        raise Conflict("the checkpoint that it began with was removed: it cannot begin there again")
    try:
        (again,) = plan(run.engine, [spec], old.priority, accepted=True)
    except Invalid as error:
        raise Invalid({name.removeprefix("0."): text for name, text in error.fields.items()}) from None
    # `plan` sees one run alone; the label tells it apart from its siblings, and so does its colour.
    again.label, again.reproduces, again.resume_from = run.label, run, run.resume_from
    with transaction.atomic():
        check_quota(user, old.project, 1, "run")
        experiment = Experiment.objects.create(
            project=old.project, owner=user, name=f"Reproduction of {run.label[:100]}, seed {run.seed}, #{old.pk}/"
            f"{run.index}", engine=run.engine, problem=again.spec["problem"], methods=[again.spec["method"]],
            seeds=[run.seed], budget=again.spec["budget"], resources=again.spec["resources"], priority=old.priority,
            notes=f"Reproduces run {run.pk} of experiment #{old.pk}.")
        append(experiment, [again])
        audit.record(user, "run.reproduce", run, old.project, experiment=experiment.pk)
    return again
