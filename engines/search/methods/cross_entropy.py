"""The cross-entropy method: sample, keep the elite, refit the distribution."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from engines.core import Source, param

from .. import figures
from ..core import Bool, Cat, Constraint, Objective, Parameter, Params, Sampler, Search, SearchSpace, Told, Trial
from ..core.run import Curves

Array = NDArray[np.float64]

FEWEST_ELITE = 2
WIDER = 0.2  # deviation that a collapsed distribution is widened to
CATEGORY_FLOOR = 0.02  # probability that no choice falls below
DYNAMIC = (0.8, 5)  # b and q of dynamic smoothing


class CrossEntropy(Sampler):
    """Draws from independent distributions a parameter and moves them towards the best share of what was drawn.

    A number has a Gaussian on its own scale, reflected at the bounds; a choice has probabilities. Use it for some
    hundred evaluations with many parallel trials, and to see what matters: the distributions narrow where the
    objective cares. It loses to TPE with fewer evaluations, and where parameters interact strongly unless
    `covariance` is on. One objective; infeasible trials rank behind all feasible ones, by their violation. A parameter
    under a condition learns only from trials in which it was active.
    """

    id: ClassVar[str] = "cross-entropy"
    title: ClassVar[str] = "Cross-entropy method"
    source: ClassVar[Source | None] = Source(
        "Li", 2024, "Cross-entropy based hyperparameter optimization (after Rubinstein and Kroese, 2004)",
        arxiv="2410.18441")
    constrained: ClassVar[bool] = True

    mode: Literal["auto", "steady", "generational"] = param(
        "auto", "refit after every trial from the latest ones, or after whole generations; auto: generations in runs "
        "of this engine, where nothing is parallel, steady in sweeps")
    population: int = param(0, "trials of a generation, or latest ones looked at; 0: 10 + 2 a parameter", ge=0,
                            le=10_000)
    elite: float = param(0.2, "share of them that the distribution is refitted to, at least two", gt=0, le=0.5)
    smoothing: float = param(0.7, "weight of the elite against the distribution before", gt=0, le=1)
    dynamic: bool = param(False, "let the weight of the elite's spread fall with time, against early collapse")
    covariance: bool = param(False, "a full covariance of the numbers, once the elite is twice as many as they are")
    floor: float = param(0.01, "standard deviation below which no number falls, on the scale of [0, 1]", log=True,
                         ge=1e-6, le=0.2)

    collapse: Literal["stay", "stop", "widen"] = param(
        "stay", "when all numbers stand at the floor: go on drawing there, end the search, or widen them again")

    @model_validator(mode="after")
    def _enough(self) -> "CrossEntropy":
        if 0 < self.population < 2 * FEWEST_ELITE:
            raise ValueError(f"population: give 0, or at least {2 * FEWEST_ELITE}")
        return self

    def start(
        self, space: SearchSpace, objectives: Sequence[Objective], constraints: Sequence[Constraint], seed: int
    ) -> "Narrowing":
        return Narrowing(self, space, objectives, constraints, seed=seed)

    def run(self, problem: Any, context: Any) -> None:
        mode = "generational" if self.mode == "auto" and problem.workers == 1 else self.mode
        super(CrossEntropy, self.model_copy(update={"mode": mode})).run(problem, context)


class Narrowing(Search):
    """Mean and deviation of every cell of a number, probabilities of every choice (a switch has one for true)."""

    def __init__(self, options: CrossEntropy, *arguments: Any, seed: int):
        super().__init__(*arguments, seed=seed)
        self.options = options
        self.size = options.population or 10 + 2 * len(self.space)
        self.few = max(FEWEST_ELITE, math.ceil(options.elite * self.size))
        self.numbers = np.array([isinstance(parameter, Cat | Bool) is False for parameter in self.space.parameters
                                 for _ in range(parameter.width)])
        self.mean, self.deviation = np.full(self.space.width, 0.5), np.full(self.space.width, 0.4)
        for parameter in self.space.parameters:
            if isinstance(parameter, Cat):
                self.mean[self.space.columns[parameter.name]] = 1 / parameter.width
        self.factor: Array | None = None  # Cholesky factor of the numbers' covariance, in use once it is known
        self.rounds = 0
        self.latest: list[tuple[int, tuple[float, float], Params]] = []  # told and not failed: id, rank, parameters

    # -- drawing

    def propose(self, n: int) -> list[Trial]:
        """Step 4: nothing more, where a collapse is to end the search."""
        if self.collapsed and self.options.collapse == "stop":
            return []
        return [self.new(self._draw()) for _ in range(n)]

    def _draw(self) -> Params:
        """Step 1: reflected Gaussians; a choice by its probabilities."""
        normal = self.rng.standard_normal(self.space.width)
        cells = self.mean + self.deviation * normal
        if self.factor is not None:
            cells[self.numbers] = self.mean[self.numbers] + self.factor @ normal[self.numbers]
        cells = 1 - np.abs(1 - np.abs(cells) % 2)
        for parameter in self.space.parameters:
            at, share = self.space.columns[parameter.name], self.rng.random()
            if isinstance(parameter, Cat):
                chosen = min(int(np.searchsorted(self.mean[at].cumsum(), share)), parameter.width - 1)
                cells[at] = np.eye(parameter.width)[chosen]
            elif isinstance(parameter, Bool):
                cells[at] = float(share < self.mean[at][0])
        return self.space.decode(cells)

    # -- learning

    def observe(self, trial: Trial, told: Told) -> None:
        """Steps 2 and 5: from the latest `size` trials, after each of them or after whole generations."""
        if told.values is None:
            return
        self.latest.append((trial.id, (told.violation, told.losses[0]), trial.params))
        steady = self.options.mode != "generational"
        if len(self.latest) > self.size and steady:
            self.latest.pop(0)
        if len(self.latest) >= self.size:
            self._refit(1 / self.size if steady else 1.0)
            if not steady:
                self.latest = []

    def _refit(self, share: float) -> None:
        """Step 3. A steady refit is `share` of a generational one, so that a generation of them moves as far."""
        self.rounds += 1
        elite = [params for _, _, params in sorted(self.latest, key=lambda item: (item[1], item[0]))[:self.few]]
        weight = 1 - (1 - self.options.smoothing) ** share
        base, power = DYNAMIC
        generation = max(1.0, self.rounds * share)
        narrowing = 1 - (1 - (base - base * (1 - 1 / generation) ** power)) ** share if self.options.dynamic else weight
        for parameter, cells in self._active(elite):
            at = self.space.columns[parameter.name]
            self.mean[at] += weight * (cells.mean(0) - self.mean[at])
            if isinstance(parameter, Cat):
                floored = self.mean[at].clip(CATEGORY_FLOOR)
                self.mean[at] = floored / floored.sum()
            elif isinstance(parameter, Bool):
                self.mean[at] = self.mean[at].clip(CATEGORY_FLOOR, 1 - CATEGORY_FLOOR)
            elif len(cells) > 1:
                self.deviation[at] += narrowing * (cells.std(0) - self.deviation[at])
                self.deviation[at] = self.deviation[at].clip(self.options.floor)
        if self.collapsed and self.options.collapse == "widen":
            self.deviation[self.numbers] = WIDER
        self._correlate(elite)

    def _active(self, elite: Sequence[Params]) -> Iterator[tuple[Parameter, Array]]:
        """Parameters that are active in some of the elite, with their encoded values (n, width) there."""
        for parameter in self.space.parameters:
            values = [params[parameter.name] for params in elite if parameter.name in params]
            if values:
                yield parameter, np.array([parameter.encode(value) for value in values])

    def _correlate(self, elite: Sequence[Params]) -> None:
        """The elite's correlations with the smoothed deviations, when there are enough of both."""
        count = int(self.numbers.sum())
        self.factor = None
        if self.options.covariance and not self.space.conditional and 1 < count <= len(elite) / 2:
            cells = np.array([self.space.encode(params) for params in elite])[:, self.numbers]
            spread = cells.std(0)
            correlation = np.cov(cells.T, bias=True) / np.outer(spread, spread).clip(1e-12)
            correlation = 0.95 * correlation + 0.05 * np.eye(count)  # positive definite
            np.fill_diagonal(correlation, 1.0)
            self.factor = self.deviation[self.numbers][:, None] * np.linalg.cholesky(correlation)

    def _spread(self, parameter: Parameter) -> float:
        """Deviation of a number; of a choice the entropy of its probabilities, as a share of the largest."""
        at = self.space.columns[parameter.name]
        if not isinstance(parameter, Cat | Bool):
            return float(self.deviation[at][0])
        p = self.mean[at] if isinstance(parameter, Cat) else np.array([self.mean[at][0], 1 - self.mean[at][0]])
        return float(-(p * np.log(p)).sum() / math.log(len(p)))

    @property
    def collapsed(self) -> bool:
        """Whether every number stands at its floor."""
        return bool(self.numbers.any() and (self.deviation[self.numbers] <= self.options.floor).all())

    # -- leaving, coming back, and what to show

    def own_state(self) -> dict[str, Any]:
        return {"mean": self.mean.tolist(), "deviation": self.deviation.tolist(), "rounds": self.rounds,
                "factor": self.factor.tolist() if self.factor is not None else None,
                "latest": [id for id, _, _ in self.latest]}

    def restore_own(self, state: Mapping[str, Any]) -> None:
        self.mean, self.deviation = np.array(state["mean"]), np.array(state["deviation"])
        self.factor = np.array(state["factor"]) if state["factor"] is not None else None
        self.rounds = state["rounds"]
        self.latest = [(id, (self.told[id].violation, self.told[id].losses[0]), self.trials[id].params)
                       for id in state["latest"]]

    def watch(self) -> dict[str, float]:
        return {f"spread/{parameter.name}": self._spread(parameter) for parameter in self.space.parameters}

    def figures(self, curves: Curves) -> dict[str, dict[str, Any]]:
        """How each parameter's distribution narrows."""
        lines = [figures.line(parameter.name, curves.get(f"spread/{parameter.name}", []))
                 for parameter in self.space.parameters[:20]]
        return {"distribution": figures.figure(
            lines, "Cross-entropy method: spread of each parameter", "evaluations", "deviation, or entropy of choices")}
