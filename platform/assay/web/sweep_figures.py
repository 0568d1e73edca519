"""Pictures of a sweep's trials in plain JSON: history with the best so far, the front, parallel coordinates."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from assay.sweeps import results
from assay.sweeps.models import Outcome, Sweep, Trial

from .styles import COLOURS

FAINT = "rgba(128,136,148,0.75)"
CLASSES = 5  # of colour among the lines of parallel coordinates, the best last
LINES = ("rgba(128,136,148,0.25)", "rgba(128,136,148,0.45)", "rgba(86,180,233,0.6)", "rgba(0,114,178,0.8)", COLOURS[3])
MOST_LINES = 400  # trials drawn as lines: the newest


def panels(sweep: Sweep, trials: Sequence[Trial], facts: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """As `figures.panels` gives them. `trials` are those that ended."""
    if not trials:
        return []
    found = [_history(sweep, trials, at, facts) for at in range(len(sweep.objectives))]
    if len(sweep.objectives) > 1:
        found.append(_front(sweep, trials, facts))
    if any(one.parent_id and one.last_step for one in trials):
        found.append(_lineage(sweep, trials, facts))
    if len(sweep.space) > 1 or len(sweep.objectives) > 1:
        found.append(_parallel(sweep, trials, facts))
    return found


def _title(fact: Mapping[str, Any]) -> str:
    return f"{fact['title']} ({fact['unit']})" if fact.get("unit") else str(fact["title"])


def _dots(xs: Sequence[float], ys: Sequence[float], trials: Sequence[Trial], name: str, colour: str,
          symbol: str = "circle") -> dict[str, Any]:
    return {"type": "scatter", "mode": "markers", "name": name, "x": list(xs), "y": list(ys),
            "marker": {"color": colour, "size": 6, "symbol": symbol},
            "text": [f"trial {trial.number}" for trial in trials], "hovertemplate": "%{text}: %{y:.5g}<extra></extra>"}


def _history(sweep: Sweep, trials: Sequence[Trial], at: int, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Each trial's value over its number, and for one objective the best so far as a staircase."""
    name = sweep.objectives[at]["name"]
    whole = [one for one in trials if one.outcome == Outcome.SUCCEEDED and one.feasible and name in one.values]
    outside = [one for one in trials if one.outcome == Outcome.SUCCEEDED and not one.feasible and name in one.values]
    pruned = [one for one in trials if one.outcome == Outcome.PRUNED and name in one.values]
    traces = [
        _dots([one.number for one in some], [one.values[name] for one in some], some, word, colour, symbol)
        for some, word, colour, symbol in (
            (outside, "outside the constraints", FAINT, "circle-open"), (pruned, "pruned", FAINT, "x"),
            (whole, "trial", COLOURS[0], "circle")) if some
    ]
    if len(sweep.objectives) == 1 and whole:
        traces.append(_staircase(sweep, whole, name))
    return {"key": f"history.{name}", "title": f"{_title(facts[name])} by trial", "x": "trial", "main": True,
            "traces": traces}


def _staircase(sweep: Sweep, trials: Sequence[Trial], name: str) -> dict[str, Any]:
    sign, best, xs, ys = (1 if sweep.objectives[0]["direction"] == "min" else -1), math.inf, [], []
    for trial in sorted(trials, key=lambda one: one.number):
        best = min(best, sign * trial.values[name])
        xs.append(trial.number)
        ys.append(sign * best)
    return {"type": "scatter", "mode": "lines", "name": "best so far", "x": xs, "y": ys,
            "line": {"color": COLOURS[1], "width": 1.8, "shape": "hv"},
            "hovertemplate": "best so far %{y:.5g}<extra></extra>"}


def _front(sweep: Sweep, trials: Sequence[Trial], facts: Mapping[str, Any]) -> dict[str, Any]:
    """The first two objectives against each other; those that nothing beats in all objectives joined by a line."""
    x, y = (one["name"] for one in sweep.objectives[:2])
    whole = [one for one in trials if one.outcome == Outcome.SUCCEEDED and x in one.values and y in one.values]
    best = sorted(results.best(sweep, whole), key=lambda one: one.values[x])
    other = [one for one in whole if one.number not in {trial.number for conf in best for trial in conf.trials}]
    shape = "hv" if sweep.objectives[0]["direction"] == "min" else "vh"  # the edge of what is beaten
    line = {"type": "scatter", "mode": "lines+markers" if len(sweep.objectives) == 2 else "markers", "name": "front",
            "x": [one.values[x] for one in best], "y": [one.values[y] for one in best],
            "line": {"color": COLOURS[3], "width": 1.4, "shape": shape}, "marker": {"size": 8},
            "text": [f"trial {one.first.number}" for one in best], "hovertemplate": "%{text}: %{y:.5g}<extra></extra>"}
    return {"key": "front", "title": f"Front: {_title(facts[y])} over {_title(facts[x])}", "x": _title(facts[x]),
            "main": True, "traces": [
                _dots([one.values[x] for one in other], [one.values[y] for one in other], other, "trial", FAINT), line]}


def _lineage(sweep: Sweep, trials: Sequence[Trial], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Every leg of training a line to its end, from the end of the leg whose checkpoint it goes on from."""
    name = sweep.objectives[0]["name"]
    legs = {one.number: one for one in trials if one.last_step and name in one.values}
    trace: dict[str, Any] = {
        "type": "scatter", "mode": "lines+markers", "name": "leg", "x": [], "y": [], "text": [],
        "line": {"color": COLOURS[0], "width": 1}, "marker": {"size": 5},
        "hovertemplate": "%{text}: %{y:.5g}<extra></extra>"}
    for one in legs.values():
        before = legs.get(one.goes_on_from) if one.goes_on_from is not None else None
        for leg in [before, one] if before is not None else [one]:
            trace["x"].append(leg.last_step)
            trace["y"].append(leg.values[name])
            trace["text"].append(f"trial {leg.number}")
        for column in ("x", "y", "text"):
            trace[column].append(None)
    return {"key": "lineage", "title": f"{_title(facts[name])}: each leg from the one it goes on from", "x": "step",
            "main": True, "traces": [trace]}


def _parallel(sweep: Sweep, trials: Sequence[Trial], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Every trial a line over all axes, each scaled to its range; the better, the stronger its colour."""
    name = sweep.objectives[0]["name"]
    whole = [one for one in trials if one.outcome == Outcome.SUCCEEDED and one.feasible][-MOST_LINES:]
    ranked = sorted(whole, key=lambda one: results.losses_of(sweep, one.values), reverse=True)
    axes = [axis["name"] for axis in sweep.space]
    values = [one.values[name] for one in whole] or [0.0]
    low, span = min(values), (max(values) - min(values)) or 1.0
    traces: list[dict[str, Any]] = [
        {"type": "scatter", "mode": "lines", "x": [], "y": [], "hoverinfo": "skip",
         "line": {"color": colour, "width": 2.2 if colour == LINES[-1] else 1.2}} for colour in LINES]
    for rank, trial in enumerate(ranked):
        line = traces[CLASSES - 1 if rank == len(ranked) - 1 else rank * (CLASSES - 1) // len(ranked)]
        heights = [_height(axis, trial.params.get(axis["name"])) for axis in sweep.space]
        line["x"] += [*axes, _title(facts[name]), _title(facts[name])]
        line["y"] += [*heights, (trial.values[name] - low) / span, None]
    return {"key": "parallel", "title": "Parameters of all trials, the best one in strong colour", "x": "",
            "main": True, "traces": traces}


def _height(axis: Mapping[str, Any], value: Any) -> float | None:
    """Where a value lies on its axis, 0 to 1; None where the parameter was not there."""
    if value is None:
        return None
    if axis["kind"] == "bool":
        return float(value)
    if axis["kind"] == "cat":
        return axis["choices"].index(value) / (len(axis["choices"]) - 1) if value in axis["choices"] else None
    low, high = (math.log(axis[end]) if axis.get("log") else axis[end] for end in ("low", "high"))
    return ((math.log(value) if axis.get("log") else value) - low) / (high - low)
