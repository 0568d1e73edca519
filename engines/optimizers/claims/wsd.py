"""One WSD-S run against a cosine run for every budget."""

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from engines.core import Budget, Claim, Part, Result, RunSpec, Verdict

from ..tuning import means

STEPS = (200, 400, 800)
ENDS = [0.25, 0.5, 1.0]
SEEDS = (0, 1, 2)
RATES = (3e-3, 6e-3, 1.2e-2)
WARMUP = 20  # steps, for every run
ADAM: dict[str, Any] = {"beta1": 0.9, "beta2": 0.95, "weight_decay": 0.01, "floor": 0.1}
SIDE_RATE = 6e-3  # of the runs that only stand beside
TOY_SEEDS = range(8)  # the height of one noisy point says nothing; the mean over some does


def single(schedule: str, rate: float, seed: int, problem: str = "charlm", **more: Any) -> RunSpec:
    """One run of 800 steps with three end points."""
    method = {"id": "wsd", "schedule": schedule, "lr": rate, "ends": ENDS, "warmup": WARMUP, **ADAM, **more}
    return RunSpec(engine="optimizers", problem={"id": problem}, method=method, seed=seed,
                   budget=Budget(steps=STEPS[-1]))


def cosine(rate: float, steps: int, seed: int) -> RunSpec:
    method = {"id": "adamw", "schedule": "cosine", "lr": rate, "warmup": WARMUP / steps, **ADAM}
    return RunSpec(engine="optimizers", problem={"id": "charlm"}, method=method, seed=seed, budget=Budget(steps=steps))


ONE_RUN = [single("wsd-s", rate, seed) for rate in RATES for seed in SEEDS]
COSINES = [cosine(rate, steps, seed) for rate in RATES for steps in STEPS for seed in SEEDS]


def at_ends(results: Sequence[Result], metric: str = "val/loss") -> dict[float, list[float]]:
    """By rate: mean over seeds of `metric` at each end point."""
    columns = [means(results, lambda result: (result.spec.method["lr"],), f"ends/{number}/{metric}")
               for number in range(1, len(ENDS) + 1)]
    return {float(str(key[0])): [column[key] for column in columns] for key in columns[0]}


def chosen(losses: dict[float, list[float]]) -> float:
    """The one rate of the one run: the smallest mean loss over its end points."""
    return min(losses, key=lambda rate: fmean(losses[rate]))


def ratio(results: Sequence[Result]) -> Verdict:
    """The worst ratio over the three budgets. The cosine runs pick their best rate for each budget anew."""
    one = [result for result in results if result.spec.method["id"] == "wsd"]
    losses = at_ends(one)
    rate = chosen(losses)
    separate = means([result for result in results if result.spec.method["id"] == "adamw"],
                     lambda result: (result.spec.method["lr"], result.spec.budget.steps), "val/loss")
    best = [min(separate[peak, steps] for peak in RATES) for steps in STEPS]
    ratios = [ours / theirs for ours, theirs in zip(losses[rate], best, strict=True)]
    state = "holds" if max(ratios) <= 1.01 else "does not hold"
    note = (f"WSD-S (rate {rate:g}) " + "/".join(f"{value:.3f}" for value in losses[rate])
            + " against " + "/".join(f"{value:.3f}" for value in best)
            + f" at {'/'.join(map(str, STEPS))} steps; {STEPS[-1]} steps against {sum(STEPS)} in all")
    return Verdict(max(ratios), 1.01, "x", state, note)  # type: ignore[arg-type]


def drop(results: Sequence[Result]) -> Verdict:
    rate = chosen(at_ends(results))
    falls = at_ends(results, "drop")[rate]
    state = "holds" if min(falls) >= 0.03 else "direction only" if min(falls) > 0 else "does not hold"
    note = "mean falls at the three end points: " + ", ".join(f"{fall:.3f}" for fall in falls)
    return Verdict(min(falls), 0.03, "nats/character", state, note)  # type: ignore[arg-type]


def beside(results: Sequence[Result]) -> Verdict:
    losses = next(iter(at_ends(results).values()))
    spent = [round(fmean(result.summary[f"ends/{number}/steps"] for result in results)) for number in (1, 2, 3)]
    note = ", ".join(f"{loss:.3f} after {steps}" for loss, steps in zip(losses, spent, strict=True)) + " steps in all"
    return Verdict(losses[-1], None, "nats/character", "measured", note)


def river(results: Sequence[Result]) -> Verdict:
    """Share of the whole way down the river that was made in the stable phase, and the fall off the hills in the
    decay: means over seeds."""
    def mean(name: str) -> float:
        return fmean(result.summary[name] for result in results)

    start = fmean(float(result.series["river"][1][0]) for result in results)
    before, after = mean("ends/1/before/river"), mean("river")
    note = (f"means of {len(results)} seeds: river {start:.2f} to {before:.2f} in the stable phase, to {after:.2f} in "
            f"the decay; height above it {mean('ends/1/before/hill'):.5f} to {mean('hill'):.5f} in the decay")
    return Verdict((start - before) / (start - after), None, "share", "measured", note)


def bigram(results: Sequence[Result]) -> Verdict:
    """Share of the excess loss of open tokens that the decay removes."""
    summary = results[0].summary
    before, after = summary["ends/1/before/stochastic"], summary["stochastic"]
    note = (f"open tokens {before:.3f} to {after:.3f} nats above entropy in the decay; deciding tokens "
            f"{results[0].series['deterministic'][1][0]:.2f} to {summary['ends/1/before/deterministic']:.5f} in the "
            "stable phase")
    return Verdict(1 - after / before, None, "share", "measured", note)


claim = Claim(
    system="wsd",
    statement="On charlm (quick, AdamW 0.9/0.95, 3 seeds, rates 3e-3, 6e-3, 1.2e-2 for all) one WSD-S run of 800 steps "
              "has at 200, 400 and 800 steps at most 1.01 times the loss of a cosine run trained for that budget "
              "alone (1,400 steps in all, each with its own best rate), and loses at least 0.03 nats in every decay.",
    headline="WSD-S beats WSD and cyclic cosine when one run must give checkpoints for several budgets, from 0.1B to "
             "1.2B parameters",
    parts=[
        Part("loss of one WSD-S run over that of a cosine run a budget, worst of three", [*ONE_RUN, *COSINES], ratio),
        Part("fall of the loss in a decay phase, smallest of three", ONE_RUN, drop),
        Part("WSD with side branches, same budget", [single("wsd", SIDE_RATE, seed) for seed in SEEDS], beside),
        Part("cyclic cosine, same end points", [single("cyclic-cosine", SIDE_RATE, seed) for seed in SEEDS], beside),
        Part("river-valley toy: way along the river made in the stable phase",
             [single("wsd-s", 0.03, seed, "river-valley", ends=[1.0]) for seed in TOY_SEEDS], river),
        Part("bigram toy: excess of open tokens removed by the decay",
             [single("wsd-s", 0.1, 0, "bigram-toy", ends=[1.0])], bigram),
    ],
    seconds=360.0,
)
