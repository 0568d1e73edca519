"""Bayesian optimisation that evaluates few different candidates, each as often as it pays."""

import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from engines.core import Source, param
from engines.core.spec import canonical_json

from .. import figures
from ..core import Cat, Constraint, Objective, Params, Sampler, Search, SearchSpace, Told, Trial
from ..core.run import Curves
from ..gaussian_process import NOISES, Kernel, Posterior, by_rows, fitted

Array = NDArray[np.float64]

FINITE = 20_000  # points up to which a space without a continuum is searched point by point
SOBOL = 2000  # candidates that fill a space otherwise
NEAR, BEST = 200, 5  # candidates around the best points
SPREADS = (0.1, 0.02)  # of those, on the scale of [0, 1]
AUDITED = 500  # evaluations up to which a run compares its posterior with the definition
MOST_REPLICATES = 10**6
FIRST_FIT, MORE = 10, 1.25  # evaluations that bring the first fit of the kernel, and times as many the next one


class GPFewUnique(Sampler):
    """Upper confidence bounds (or expected improvement) of a Gaussian process, switching candidates rarely.

    The chosen candidate is evaluated until its posterior variance has shrunk by the square of `ratio`, and only then
    the next one is chosen. Observations of one candidate enter as one point with a weight, so that the posterior is
    exact at the cost of the number of different candidates cubed, however many evaluations there are.

    Use it for noisy objectives, for which many evaluations of a candidate are cheap together, and where changing the
    candidate costs. The replicates of a candidate are one group, which a sweep averages. Without noise it switches
    every time and is GP-UCB. It loses to GP with logEI on smooth objectives without noise in more than a few
    dimensions (it has one length scale for all), and to TPE with many choices. One objective, no constraints, no
    conditions.
    """

    id: ClassVar[str] = "gp-few-unique"
    title: ClassVar[str] = "GP with few unique candidates"
    source: ClassVar[Source | None] = Source(
        "Calandriello, Carratino, Lazaric, Valko and Rosasco", 2022,
        "Scaling Gaussian Process Optimization by Evaluating a Few Unique Candidates Multiple Times", "ICML",
        "2201.12909")

    acquisition: Literal["ucb", "ei"] = param("ucb", "upper confidence bound, or expected improvement")
    beta: float = param(2.0, "width of the confidence bound in standard deviations; 0: grows with the logarithm of "
                        "the number of candidates", ge=0, le=20)
    ratio: float = param(1.1, "by how much a candidate's standard deviation may shrink before the next switch", ge=1,
                         le=2)
    noise: float = param(0.0, "standard deviation of an evaluation's noise where it is known; 0: estimated", ge=0,
                         le=1e6)
    refit: int = param(5, "switches from one fit of the kernel to the next; a quarter more evaluations bring one too",
                       ge=1, le=1000)

    def refuses(
        self, space: SearchSpace, objectives: Sequence[Objective], constraints: Sequence[Constraint] = ()
    ) -> dict[str, str]:
        reasons = super().refuses(space, objectives, constraints)
        if space.conditional:
            reasons["space"] = f"{self.id} serves no parameters under a condition: use tpe"
        return reasons

    def start(
        self, space: SearchSpace, objectives: Sequence[Objective], constraints: Sequence[Constraint], seed: int
    ) -> "FewUnique":
        return FewUnique(self, space, objectives, constraints, seed=seed)


class FewUnique(Search):
    """Losses are turned around: the process is one of rewards, and its largest is sought."""

    def __init__(self, options: GPFewUnique, *arguments: Any, seed: int):
        super().__init__(*arguments, seed=seed)
        self.options = options
        self.domain = self.space.grid(FINITE)
        self.kernel = Kernel()
        self.unit: tuple[float, float] | None = None  # mean and deviation of rewards; fixed from the first fit on
        self.switches = self.fitted_at = self.fitted_with = self.group = self.remaining = 0
        self.current: Params = {}
        self.pool_seed = 0  # of the candidates that fill the space
        self.seconds = 0.0  # of this thread, spent on posteriors; waiting for a core is not counted
        self._forget()

    def _forget(self) -> None:
        """As before the first tell."""
        self.index: dict[str, int] = {}  # of a unique point, by its parameters
        self.points = np.empty((0, self.space.width))
        self.counts = np.empty(0)
        self.sums, self.squares = np.empty(0), np.empty(0)
        self.failed: set[str] = set()
        self._seen, self._hoped = self._posterior(), self._posterior()
        self._pool: tuple[int, list[Params], Array] | None = None

    # -- learning

    def observe(self, trial: Trial, told: Told) -> None:
        key = canonical_json(trial.params)
        if told.values is None:
            self.failed.add(key)  # left out, and not taken for some number
            return
        if told.partial:
            return  # of another step than the others
        if key not in self.index:
            self.index[key] = len(self.points)
            self.points = np.vstack((self.points, self.space.encode(trial.params)))
            self.counts, self.sums, self.squares = (np.append(old, 0.0) for old in
                                                    (self.counts, self.sums, self.squares))
        reward, at = -told.losses[0], self.index[key]
        self.counts[at] += 1
        self.sums[at] += reward
        self.squares[at] += reward**2

    def propose(self, n: int) -> list[Trial]:
        found: list[Trial] = []
        while len(found) < n:
            if not self.remaining:
                self._switch([*self.pending(), *found])
            found.append(self.new(self.current, group=self.group))
            self.remaining -= 1
        return found

    # -- switching

    def _switch(self, waiting: Sequence[Trial]) -> None:
        """Steps 2 and 3: the next candidate, and how often to evaluate it."""
        if len(self.points) > 1 and self._due():
            self._fit()
        params, x = self._candidates()
        mean, deviation = self._beliefs(x, waiting)
        worth = self._worth(mean, deviation)
        if lost := self.failed - self.index.keys():  # what failed and never succeeded is left alone
            worth[[canonical_json(candidate) in lost for candidate in params]] = -math.inf
        best = int(worth.argmax())
        variance = max(float(deviation[best]) ** 2, 1e-12)
        noise = 0.0 if self.kernel.noise <= 1.01 * NOISES[0] else self.kernel.noise
        replicates = math.floor((self.options.ratio**2 - 1) * noise / variance)
        self.switches += params[best] != self.current
        self.current, self.group = params[best], self.group + 1
        self.remaining = min(max(1, replicates), MOST_REPLICATES)

    def _beliefs(self, x: Array, waiting: Sequence[Trial]) -> tuple[Array, Array]:
        """Posterior mean and deviation at `x`. Pending trials count as if their values were the posterior mean there,
        which leaves the mean as it is and shrinks the deviation."""
        rewards = self._standardised()
        points, counts = self._with(waiting)
        started = time.thread_time()
        self._seen.update(self.points, self.counts.copy())
        hoped = self._seen
        if waiting:
            hoped = self._hoped
            hoped.update(points, counts)
        mean, deviation = self._seen.mean(x, rewards), hoped.deviation(x)
        self.seconds += time.thread_time() - started
        return mean, deviation

    def _with(self, waiting: Sequence[Trial]) -> tuple[Array, Array]:
        """Unique points and counts, the pending trials' among them."""
        counts = Counter(canonical_json(trial.params) for trial in waiting)
        known = [self.counts[at] + counts.pop(key, 0) for key, at in self.index.items()]
        first = {canonical_json(trial.params): trial.params for trial in waiting}
        more = [self.space.encode(first[key]) for key in counts]
        return np.vstack((self.points, *more)), np.array([*known, *counts.values()], np.float64)

    def _worth(self, mean: Array, deviation: Array) -> Array:
        if self.options.acquisition == "ei" and len(self.points):
            from scipy.special import ndtr

            best = self._seen.mean(self.points, self._standardised()).max()
            z = (mean - best) / deviation.clip(1e-12)
            return (mean - best) * ndtr(z) + deviation * np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
        unique = max(1, len(self.points))
        beta = self.options.beta or math.sqrt(2 * math.log(unique**2 * math.pi**2 / 0.6))
        return mean + beta * deviation

    def _due(self) -> bool:
        """Whether to fit the kernel: after some switches, or with a quarter more evaluations. Switches alone would
        never come where a wrong kernel holds the search on one candidate."""
        return (self.switches - self.fitted_at >= self.options.refit
                or self._evaluated() >= max(FIRST_FIT, MORE * self.fitted_with))

    def _evaluated(self) -> int:
        return int(self.counts.sum())

    def _fit(self) -> None:
        """The kernel of the largest marginal likelihood, in units of the rewards' deviation so far."""
        self.fitted_at, self.fitted_with = self.switches, self._evaluated()
        offset, unit = self.unit = self._unit()
        means = self.sums / self.counts
        within = (self.squares - self.counts * means**2).clip(0) / unit**2
        self.kernel = fitted(self.points, self.counts, (means - offset) / unit, within, self.kernel, self._noise(unit))
        self._renew()
        self.pool_seed = int(self.rng.integers(2**32))

    def _renew(self) -> None:
        self._seen, self._hoped = self._posterior(), self._posterior()

    def _posterior(self) -> Posterior:
        return Posterior(self.kernel, self.space.width)

    def _noise(self, unit: float) -> float | None:
        return max((self.options.noise / unit) ** 2, NOISES[0]) if self.options.noise else None

    def _standardised(self) -> Array:
        """The unique points' mean rewards in the units of the kernel."""
        offset, unit = self.unit or self._unit()
        return (self.sums / self.counts - offset) / unit

    def _unit(self) -> tuple[float, float]:
        """Of the unique points, each once: the replicates of one candidate must not make all others look far away."""
        if not len(self.points):
            return 0.0, 1.0
        means = self.sums / self.counts
        return float(means.mean()), float(means.std()) or 1.0

    # -- candidates

    def _candidates(self) -> tuple[list[Params], Array]:
        """All points of a finite space; else points that fill it, points near the best, and those evaluated before."""
        pool, x = self._filling()
        if self.domain is not None or not len(self.points):
            return pool, x
        known = [self.space.decode(point) for point in self.points]
        best = np.argsort(-self.sums / self.counts, kind="stable")[:BEST]
        near = [self._beside(self.points[best[number % len(best)]], SPREADS[number % len(SPREADS)])
                for number in range(NEAR)]
        return [*pool, *known, *near], np.vstack((x, self.points, [self.space.encode(params) for params in near]))

    def _filling(self) -> tuple[list[Params], Array]:
        seed = 0 if self.domain is not None else self.pool_seed
        if self._pool is None or self._pool[0] != seed:
            params = self.domain or self._sobol()
            self._pool = (seed, params, np.array([self.space.encode(point) for point in params]))
        return self._pool[1], self._pool[2]

    def _sobol(self) -> list[Params]:
        from scipy.stats import qmc  # 0.4 s

        points = qmc.Sobol(len(self.space), scramble=True, rng=self.pool_seed).random_base2(11)[:SOBOL]
        return [self.space.at(point) for point in points]

    def _beside(self, point: Array, spread: float) -> Params:
        """A Gaussian step, reflected at the bounds; a choice is drawn anew with probability 1/parameters."""
        moved = np.abs(point + spread * self.rng.standard_normal(len(point)))
        moved = 1 - np.abs(1 - moved)
        for parameter in self.space.parameters:
            if isinstance(parameter, Cat) and self.rng.random() < 1 / len(self.space):
                moved[self.space.columns[parameter.name]] = self.rng.random(parameter.width)
        return self.space.decode(moved)

    # -- leaving, coming back, and what to show

    def own_state(self) -> dict[str, Any]:
        return {"kernel": [self.kernel.length, self.kernel.scale, self.kernel.noise], "unit": self.unit,
                "switches": self.switches, "fitted_at": self.fitted_at, "fitted_with": self.fitted_with,
                "group": self.group, "remaining": self.remaining, "current": self.current,
                "pool_seed": self.pool_seed}

    def restore_own(self, state: Mapping[str, Any]) -> None:
        self.kernel = Kernel(*state["kernel"])
        self.unit = tuple(state["unit"]) if state["unit"] else None
        self.switches, self.fitted_at, self.fitted_with = (
            state[name] for name in ("switches", "fitted_at", "fitted_with"))
        self.group, self.remaining, self.current = state["group"], state["remaining"], state["current"]
        self.pool_seed = state["pool_seed"]
        self._forget()
        for id, told in self.told.items():
            self.observe(self.trials[id], told)

    def watch(self) -> dict[str, float]:
        return {"posterior/seconds": self.seconds}

    def summary(self) -> dict[str, float]:
        """`posterior/error`: how far mean and deviation are from those of the process on all rows, at most."""
        rows = [(self.space.encode(self.trials[id].params), -told.losses[0]) for id, told in self.told.items()
                if told.values is not None and not told.partial]
        if not 0 < len(rows) <= AUDITED:
            return {}
        offset, unit = self.unit or self._unit()
        x = self._candidates()[1][:AUDITED]
        expected = by_rows(self.kernel, np.array([row for row, _ in rows]),
                           (np.array([reward for _, reward in rows]) - offset) / unit, x)
        found = self._beliefs(x, [])
        return {"posterior/error": max(float(np.abs(a - b).max()) for a, b in zip(found, expected, strict=True))}

    def costs(self) -> dict[str, float]:
        return {"posterior_seconds": self.seconds}

    def figures(self, curves: Curves) -> dict[str, dict[str, Any]]:
        """The headline against switches, and what a decision costs."""
        name = "regret" if "regret" in curves else "best"
        switches = dict(curves["switches"])
        against = [(switches[step], value) for step, value in curves.get(name, []) if step in switches]
        spent = curves["posterior/seconds"]
        return {
            "switches": figures.figure(
                [figures.line(f"{name} against switches", against), figures.line(f"{name} against evaluations",
                                                                                curves.get(name, []))],
                f"{self.options.title}: {name}", "switches, or evaluations", name,
                yaxis={"type": "log"} if name == "regret" else {}),
            "decisions": figures.figure(
                [figures.line("different candidates", curves["unique"]),
                 figures.line("seconds spent on posteriors", spent, yaxis="y2")],
                f"{self.options.title}: size and cost of the posterior", "evaluations", "different candidates",
                yaxis2={"title": {"text": "seconds"}, "overlaying": "y", "side": "right", "showgrid": False}),
        }
