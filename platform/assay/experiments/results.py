"""What an experiment found: methods compared over seeds, and how long one like it would take."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from django.db.models import F, Sum

from assay.catalogue.models import Problem
from assay.fleet.models import Node

from .models import Experiment, Run, State
from .state import ENDED


@dataclass(frozen=True)
class Column:
    """A metric or a cost. `direction` is "min", "max", or "" where neither is better."""

    name: str
    title: str
    unit: str
    direction: str
    kind: str  # "metric" | "cost"


COSTS = (
    Column("seconds", "Seconds", "s", "min", "cost"),
    Column("cpu_seconds", "CPU seconds", "s", "min", "cost"),
    Column("wall_seconds", "Wall seconds", "s", "min", "cost"),
    Column("peak_memory", "Peak memory", "B", "min", "cost"),
    Column("cuda_peak", "Peak GPU memory", "B", "min", "cost"),
    Column("energy_package", "Energy, CPU", "J", "min", "cost"),
    Column("energy_gpu", "Energy, GPU", "J", "min", "cost"),
    Column("parameters", "Parameters", "", "", "cost"),
    Column("state_bytes", "Optimizer state", "B", "min", "cost"),
    Column("steps", "Steps", "", "", "cost"),
    Column("samples", "Samples", "", "", "cost"),
    Column("grad_evals", "Gradient evaluations", "", "", "cost"),
)


@dataclass
class Cell:
    """One column of one method over its succeeded runs that have a finite value; n >= 1. `std` is None for n = 1."""

    mean: float
    std: float | None
    n: int
    min: float
    max: float
    best: bool = False
    difference: float | None = None  # mean minus the reference's mean
    ratio: float | None = None  # mean over the reference's mean
    p: float | None = None  # Welch's t-test against the reference; None when n < 2 or nothing varies


@dataclass
class Row:
    """One configuration of a method."""

    label: str
    method: str
    parameters: dict[str, Any]
    runs: int = 0
    states: dict[str, int] = field(default_factory=dict)
    cells: dict[str, Cell] = field(default_factory=dict)  # by column name; costs are "cost.<name>"

    @property
    def ended(self) -> bool:
        return all(state in ENDED for state in self.states)


@dataclass
class Comparison:
    columns: list[Column]
    rows: list[Row]
    reference: str | None

    def key(self, column: Column) -> str:
        return column_key(column)


def column_key(column: Column) -> str:
    """The key of a column in `Row.cells`: costs have the prefix "cost."."""
    return f"cost.{column.name}" if column.kind == "cost" else column.name


def comparison(experiment: Experiment, *, reference: str | None = None) -> Comparison:
    """Methods in the order they were asked for. Only runs that succeeded count; `best` marks the best mean of each
    column with a direction (all of them on a tie) among two methods or more. `reference` is a label; unknown
    labels raise `KeyError`."""
    rows = _configurations(experiment)
    values: dict[tuple[str, str], list[float]] = {}
    runs = experiment.runs.order_by("index").values_list("label", "state", "summary", "cost")
    for label, state, summary, cost in runs:
        row = rows[label]
        row.runs += 1
        row.states[state] = row.states.get(state, 0) + 1
        if state == State.SUCCEEDED:
            for prefix, named in (("", summary), ("cost.", cost)):
                for name, value in named.items():
                    if _finite(value):
                        values.setdefault((label, prefix + name), []).append(float(value))
    columns = _columns(experiment, {name for _, name in values})
    for (label, name), found in values.items():
        rows[label].cells[name] = _cell(found)
    _mark_best(columns, list(rows.values()))
    if reference is not None:
        _against(rows[reference], list(rows.values()), values)
    return Comparison(columns, list(rows.values()), reference)


def _configurations(experiment: Experiment) -> dict[str, Row]:
    """A row for each label, as the runs of the first seed show them all."""
    first = experiment.runs.filter(seed=experiment.seeds[0]) if experiment.seeds else experiment.runs.none()
    return {
        label: Row(label, spec["method"]["id"], {key: value for key, value in spec["method"].items() if key != "id"})
        for label, spec in first.order_by("index").values_list("label", "spec")
    }


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _columns(experiment: Experiment, present: set[str]) -> list[Column]:
    """The problem's metrics first, then other numbers the runs summed up, then costs; only what has a value."""
    problem = Problem.objects.filter(engine=experiment.engine, name=experiment.problem.get("id")).first()
    declared = [
        Column(one["name"], one.get("title") or one["name"], one.get("unit", ""), one.get("direction", ""), "metric")
        for one in (problem.metrics if problem else [])
    ]
    known = {column.name for column in declared}
    others = [
        Column(name, name, "", "", "metric")
        for name in sorted(present) if not name.startswith("cost.") and name not in known
    ]
    costs = {column.name for column in COSTS}
    unlisted = [
        Column(name, name, "", "", "cost")
        for name in sorted(key.removeprefix("cost.") for key in present if key.startswith("cost."))
        if name not in costs
    ]
    return [column for column in (*declared, *others, *COSTS, *unlisted) if column_key(column) in present]


def _cell(values: list[float]) -> Cell:
    return Cell(mean(values), deviation(values), len(values), min(values), max(values))


def mean(values: Sequence[float]) -> float:
    """The arithmetic mean, of numbers too whose sum is no number any more (two runs that ended at 1e308)."""
    try:
        return fmean(values)
    except OverflowError:
        return math.fsum(value / len(values) for value in values)


def deviation(values: Sequence[float]) -> float | None:
    """Standard deviation of a sample; None for fewer than 2 values, exactly 0 when all are equal, infinite where their
    squares are no numbers any more.

    `statistics.stdev` works in fractions, which takes longer than all else on the page of a large experiment.
    """
    if len(values) < 2:
        return None
    if min(values) == max(values):
        return 0.0
    middle = mean(values)
    squares = [(value - middle) * (value - middle) for value in values]
    try:
        return math.sqrt(math.fsum(squares) / (len(values) - 1))
    except OverflowError:
        return math.inf


def _mark_best(columns: list[Column], rows: list[Row]) -> None:
    for column in columns:
        cells = [row.cells[column_key(column)] for row in rows if column_key(column) in row.cells]
        if not column.direction or len(cells) < 2:
            continue
        pick = min if column.direction == "min" else max
        best = pick(cell.mean for cell in cells)
        for cell in cells:
            cell.best = cell.mean == best


def _against(reference: Row, rows: list[Row], values: dict[tuple[str, str], list[float]]) -> None:
    for row in rows:
        for name, cell in row.cells.items():
            base = reference.cells.get(name)
            if row is reference or base is None:
                continue
            cell.difference = cell.mean - base.mean
            cell.ratio = cell.mean / base.mean if base.mean else None
            cell.p = welch(values[row.label, name], values[reference.label, name])


def welch(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Two-sided p-value of Welch's t-test that the means are equal; None for fewer than 2 values, no variance, or one
    that is no number.

    Written out because `scipy.stats` costs a web process 60 MB, `scipy.special` 15.
    """
    spread_a, spread_b = deviation(a), deviation(b)
    if spread_a is None or spread_b is None:
        return None
    part_a, part_b = spread_a * spread_a / len(a), spread_b * spread_b / len(b)
    square = part_a + part_b
    if square == 0 or not math.isfinite(square):
        return None
    from scipy.special import stdtr

    degrees = 1 / ((part_a / square) ** 2 / (len(a) - 1) + (part_b / square) ** 2 / (len(b) - 1))
    return float(2 * stdtr(degrees, -abs(mean(a) - mean(b)) / math.sqrt(square)))


RECENT = 20  # runs of a method that an estimate looks at


def estimate(engine: str, problem: dict[str, Any], methods: Sequence[dict[str, Any]], seeds: int,
             budget: dict[str, Any]) -> float | None:
    """Seconds that `methods` x `seeds` (a count) would take on the nodes that are online, from past runs.

    A past run counts when it succeeded on this problem at this size with a budget of the same kind; its time is
    scaled by the budget. A method without past runs takes the others' mean. None when nothing is known or
    nothing is online.
    """
    slots = Node.objects.online().filter(draining=False).aggregate(total=Sum("slots"))["total"]
    if not slots or not methods:
        return None
    known = {method: _seconds(engine, problem, method, budget) for method in {str(one.get("id")) for one in methods}}
    measured = [seconds for seconds in known.values() if seconds is not None]
    if not measured:
        return None
    usual = fmean(measured)
    one_seed = [usual if (seconds := known[str(one.get("id"))]) is None else seconds for one in methods]
    parallel = min(slots, len(methods) * seeds)
    return max(sum(one_seed) * seeds / parallel, max(one_seed))


def _seconds(engine: str, problem: dict[str, Any], method: str, budget: dict[str, Any]) -> float | None:
    """Mean wall seconds of one run of a method under `budget`, from its latest runs."""
    past = (
        Run.objects.filter(engine=engine, problem=problem.get("id"), method=method, state=State.SUCCEEDED,
                           started_at__isnull=False, ended_at__isnull=False)
        .order_by("-id").annotate(took=F("ended_at") - F("started_at"))
        .values_list("took", "spec__budget", "spec__problem")[:RECENT]
    )
    size = problem.get("size", "quick")
    scaled = []
    for took, spent, solved in past:
        ratios = [budget[unit] / spent[unit] for unit in spent if budget.get(unit)]
        if ratios and solved.get("size", "quick") == size:
            scaled.append(took.total_seconds() * min(ratios))
    return fmean(scaled) if scaled else None
