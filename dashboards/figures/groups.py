"""What runs are grouped by: their label, themselves, or any parameter of method, problem or budget. Pure."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from assay.experiments.models import Run
from assay.wording import show

from .curves import EACH_RUN

# Beside these a group may be any parameter, as `parameters` names it: "method.lr", "problem.size", "budget.steps".
KINDS: Mapping[str, str] = {
    "label": "method and its parameters", EACH_RUN: "each run", "method": "method", "problem": "problem",
    "experiment": "experiment", "seed": "seed",
}
MANY = 3  # values that are listed in one cell


def parameters(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Its parameters by dotted name: "engine", "problem", "problem.size", "method", "method.lr", "budget.steps"."""
    found: dict[str, Any] = {"engine": spec.get("engine")}
    for part in ("problem", "method"):
        values = dict(spec.get(part) or {})
        found[part] = values.pop("id", None)
        found |= {f"{part}.{name}": value for name, value in values.items()}
    limits = {name: value for name, value in (spec.get("budget") or {}).items() if value is not None}
    return found | {f"budget.{name}": value for name, value in limits.items()}


def varying(specs: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """The parameters that are not the same in all of `specs`, each with its values as text ("–" where it is absent)."""
    flat = [{name: text(value) for name, value in parameters(spec).items()} for spec in specs]
    names = dict.fromkeys(name for one in flat for name in one)
    values = {name: list(dict.fromkeys(one.get(name, "–") for one in flat)) for name in names}
    return {name: found for name, found in values.items() if len(found) > 1}


def text(value: Any) -> str:
    return "–" if value is None else show(value)


def labels(runs: Sequence[Run], group: Sequence[str]) -> dict[int, str]:
    """The group that each run belongs to, in words. `group`: keys of `KINDS`, names of parameters."""
    keys = [key for key in group if key != EACH_RUN] or ["label"]
    experiments = len({run.experiment_id for run in runs}) > 1
    about = _about(runs) if "label" in keys else {}

    def part(run: Run, key: str) -> str:
        if key == "label":
            return f"#{run.experiment_id} {run.label}{about[run.pk]}" if experiments else run.label + about[run.pk]
        if key == "method":
            return run.method
        if key == "problem":
            return run.problem
        if key == "experiment":
            return f"#{run.experiment_id}"
        if key == "seed":
            return f"seed {run.seed}"
        return f"{key.split('.', 1)[-1]}={text(parameters(run.spec).get(key))}"

    return {run.pk: " · ".join(part(run, key) for key in keys) for run in runs}


def _about(runs: Sequence[Run]) -> dict[int, str]:
    """What stands after each run's label: nothing, but where one label of an experiment stands for several problems or
    budgets (those of a claim do) what these are."""
    settings = {run.pk: json.dumps([run.problem, run.spec.get("problem"), run.spec.get("budget")]) for run in runs}
    names = {(run.experiment_id, run.label) for run in runs}
    if len({(run.experiment_id, run.label, settings[run.pk]) for run in runs}) == len(names):
        return dict.fromkeys(settings, "")
    flat = {run.pk: parameters(run.spec) for run in runs}
    differing = [name for name in varying(run.spec for run in runs) if name.startswith(("problem.", "budget."))]
    return {run.pk: " ".join([f" on {run.problem}", *(f"{name.split('.', 1)[1]}={text(flat[run.pk].get(name))}"
                                                      for name in differing)]) for run in runs}


def difference(members: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[list[str]]:
    """The parameters in which groups of specs differ, as rows: a head first, then a parameter's name and its value in
    each group; several values are listed, or counted beyond three."""
    differing = varying(spec for specs in members.values() for spec in specs)
    if not differing:
        return []
    flat = {name: [parameters(spec) for spec in specs] for name, specs in members.items()}
    rows = [["parameter", *members]]
    for parameter in differing:
        cells = [list(dict.fromkeys(text(one.get(parameter)) for one in specs)) for specs in flat.values()]
        rows.append([parameter, *(", ".join(cell) if len(cell) <= MANY else f"{len(cell)} values" for cell in cells)])
    return rows
