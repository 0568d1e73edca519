"""What a search tried: trials, the parameters that vary among them, and what they were judged by. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from assay.web.numbers import short, size
from assay.wording import show
from numpy.typing import NDArray

from .curves import Floats, plain

SUCCEEDED, PRUNED = "succeeded", "pruned"


@dataclass(frozen=True)
class Parameter:
    """A parameter that varies. `choices`: the texts of its values in order, empty for a number from `low` to `high`."""

    name: str
    low: float = math.nan
    high: float = math.nan
    log: bool = False
    choices: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        return self.name.removeprefix("method.")

    def place(self, value: Any) -> float:
        """Where a value stands on its axis: a number itself, else its place among the choices; NaN for None."""
        if value is None:
            return math.nan
        if self.choices:
            return float(self.choices.index(show(value))) if show(value) in self.choices else math.nan
        return float(value)

    def unit(self, places: Floats) -> Floats:
        """`places` from 0 to 1 along the axis, logarithmically where it is so."""
        low, high = (0.0, len(self.choices) - 1.0) if self.choices else (self.low, self.high)
        if self.log:
            places, low, high = np.log10(places), math.log10(low), math.log10(high)
        if not high > low:
            return np.where(np.isnan(places), np.nan, 0.5)
        return (places / 2 - low / 2) / (high / 2 - low / 2)  # halves: -1e308 to 1e308 is further than floats reach

    def at(self, units: Floats) -> Floats:
        """The inverse of `unit`, for numbers."""
        if self.log:
            low, high = math.log10(self.low), math.log10(self.high)
            return 10 ** (low + units * (high - low))
        return self.low + units * (self.high - self.low)


@dataclass(frozen=True)
class Objective:
    """`key`: a metric's name, or "cost.NAME". `direction`: "min" or "max" is better."""

    key: str
    title: str
    unit: str
    direction: str

    @property
    def sign(self) -> float:
        """Values times this are to be minimised."""
        return 1.0 if self.direction == "min" else -1.0

    @property
    def head(self) -> str:
        unit = f" [{self.unit}]" if self.unit and self.unit != "B" else ""
        return f"{self.title}{unit} {'↑' if self.direction == 'max' else '↓'}"

    def text(self, value: float) -> str:
        return size(value) if self.unit == "B" and math.isfinite(value) else short(value)


@dataclass(frozen=True)
class Trial:
    """One configuration. `params`: None where a parameter does not exist for it. `values`: one for each objective, the
    mean over its seeds, NaN where there is none; `n`: its runs that have them. `outcome`: "succeeded", "pruned",
    "failed", "running" or "cancelled". `feasible`: it meets the constraints."""

    number: int
    name: str
    params: Mapping[str, Any]
    values: tuple[float, ...]
    outcome: str
    runs: tuple[int, ...]
    n: int = 1
    feasible: bool = True


def places(trials: Sequence[Trial], parameter: Parameter) -> Floats:
    """Where each trial stands on the parameter's axis: [n], NaN where it has none."""
    return np.array([parameter.place(trial.params.get(parameter.name)) for trial in trials], dtype=float)


def values(trials: Sequence[Trial], at: int = 0) -> Floats:
    """Each trial's value of one objective: [n]."""
    return np.array([trial.values[at] for trial in trials], dtype=float)


def valued(trials: Sequence[Trial], at: int = 0) -> list[Trial]:
    """Those that succeeded with a finite value: what surfaces, slices and importances rest on."""
    return [trial for trial in trials if trial.outcome == SUCCEEDED and math.isfinite(trial.values[at])]


def goodness(found: Floats, direction: str) -> Floats:
    """Ranks from 0 (worst) to 1 (best), equal for equal values: a few outliers do not flatten the rest."""
    losses = found if direction == "min" else -found
    _, ranks = np.unique(-losses, return_inverse=True)
    return ranks / max(ranks.max(initial=0), 1)


def best_so_far(trials: Sequence[Trial], objective: Objective, at: int = 0) -> Floats:
    """The best value up to each trial, in their order; pruned and infeasible ones do not count. NaN before any."""
    losses = np.array([
        trial.values[at] * objective.sign if trial.outcome == SUCCEEDED and trial.feasible else np.inf
        for trial in trials], dtype=float)
    best = np.minimum.accumulate(np.where(np.isnan(losses), np.inf, losses))
    return np.where(np.isfinite(best), best, np.nan) * objective.sign


def told(trial: Trial, parameters: Sequence[Parameter], objectives: Sequence[Objective]) -> str:
    """What a trial says when it is pointed at."""
    seeds = f" · n {trial.n}" if trial.n > 1 else ""
    lines = [f"<b>{plain(trial.name)}</b> · {trial.outcome}{'' if trial.feasible else ', infeasible'}{seeds}"]
    lines += [f"{plain(one.title)} {one.text(value)}" for one, value in zip(objectives, trial.values, strict=True)]
    lines += [f"{plain(one.title)} {plain(show(value))}" for one in parameters
              if (value := trial.params.get(one.name)) is not None]
    return "<br>".join(lines)


def rows(trials: Sequence[Trial], parameters: Sequence[Parameter], objectives: Sequence[Objective]) -> list[list[Any]]:
    """The trials as rows, a head first: what a CSV holds. What is missing or not finite is None."""
    found: list[list[Any]] = [["trial", "outcome", "n", *(one.name for one in parameters),
                               *(one.key for one in objectives), "runs"]]
    for trial in trials:
        numbers = [value if math.isfinite(value) else None for value in trial.values]
        found.append([trial.name, trial.outcome, trial.n, *(trial.params.get(one.name) for one in parameters), *numbers,
                      " ".join(str(run) for run in trial.runs)])
    return found


def mask(trials: Sequence[Trial], outcome: str) -> NDArray[np.bool_]:
    return np.array([trial.outcome == outcome for trial in trials], dtype=bool)
