"""Sophia on wells of uneven curvature, and against AdamW on characters."""

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from engines.core import Budget, Claim, Part, Result, RunSpec, Verdict

from ..tuning import Label, means

SEEDS = (0, 1, 2)
TARGET = 1e-6  # error on the wells
EVEN, UNEVEN = 1e1, 1e6  # spreads of curvature
WELL_STEPS = 1_500
DESCENT_STEPS = 12_000  # of gradient descent at UNEVEN, which no rate brings to the target
PLAIN: dict[str, Any] = {"schedule": "constant", "warmup": 0.0}
WELL_RATES = (0.003, 0.01, 0.03)
DESCENT_RATES = (0.5, 1.0, 1.5)  # over the largest curvature, so that they follow the spread; 2 is the stable limit

STEPS, RATE = 500, 1e-3
CHAR_RATES = (1e-3, 3e-3, 1e-2)
LION_RATES = (1e-4, 3e-4, 1e-3)
RECIPE: dict[str, Any] = {"schedule": "cosine", "warmup": 0.02, "floor": 0.1}
ADAMW: dict[str, Any] = {"id": "adamw", "beta1": 0.9, "beta2": 0.95, "weight_decay": 0.1}
SOPHIA: dict[str, Any] = {"id": "sophia", "estimator": "gnb"}


def wells(method: dict[str, Any], spread: float, well: str = "quartic", steps: int = WELL_STEPS) -> list[RunSpec]:
    problem = {"id": "curvature", "well": well, "spread": spread}
    return [RunSpec(engine="optimizers", problem=problem, method=method, seed=seed, budget=Budget(steps=steps))
            for seed in SEEDS]


def sophia_on(well: str) -> list[RunSpec]:
    """Without clipping of the gradient's norm, in which the steepest coordinate would drown all others."""
    return [spec for rate in WELL_RATES for spread in (EVEN, UNEVEN)
            for spec in wells({"id": "sophia", "lr": rate, "grad_clip": 0.0, **PLAIN}, spread, well)]


def descent(spread: float, steps: int) -> list[RunSpec]:
    method = {"id": "sgd", "momentum": 0.0, "nesterov": False, **PLAIN}
    return [spec for rate in DESCENT_RATES
            for spec in wells(method | {"lr": rate / spread}, spread, steps=steps)]


def characters(method: dict[str, Any], rates: Sequence[float]) -> list[RunSpec]:
    return [RunSpec(engine="optimizers", problem={"id": "charlm"}, method={**method, **RECIPE, "lr": rate}, seed=seed,
                    budget=Budget(steps=STEPS)) for rate in rates for seed in SEEDS]


# -- (a) wells


def steps_to_target(result: Result) -> float:
    """Steps after which a streamed loss first was at most the target (the loss of step s is that after s - 1 steps);
    infinite where none was. A loss is streamed every 3 steps, or every 400th part of the run."""
    steps, losses = result.series["loss"]
    return next((float(step) - 1 for step, loss in zip(steps, losses, strict=True) if loss <= TARGET), math.inf)


def mean_steps(results: Sequence[Result]) -> dict[Label, float]:
    """By spread and rate."""
    groups: dict[Label, list[float]] = {}
    for result in results:
        key = (result.spec.problem["spread"], result.spec.method.get("lr"))
        groups.setdefault(key, []).append(steps_to_target(result))
    return {key: fmean(values) for key, values in groups.items()}


def sophia_growth(results: Sequence[Result]) -> Verdict:
    """The rate is picked at the even spread and kept at the uneven one."""
    found = mean_steps(results)
    rate = min(WELL_RATES, key=lambda one: found[EVEN, one])
    few, many = found[EVEN, rate], found[UNEVEN, rate]
    growth = many / few if math.isfinite(many) else math.inf
    state = "holds" if growth <= 3 else "does not hold"
    note = f"rate {rate:g}: {few:.0f} steps at spread {EVEN:g}, {many:.0f} at {UNEVEN:g}, means of {len(SEEDS)} seeds"
    return Verdict(growth, 3.0, "x", state, note)  # type: ignore[arg-type]


def descent_growth(results: Sequence[Result]) -> Verdict:
    """Each spread with its own best rate. Where the target is not reached the growth is at least what was waited."""
    found = mean_steps(results)
    few = min(steps for (spread, _), steps in found.items() if spread == EVEN)
    many = min(steps for (spread, _), steps in found.items() if spread == UNEVEN)
    growth = min(many, DESCENT_STEPS) / few
    state = "holds" if growth >= 100 else "direction only" if growth > 1 else "does not hold"
    reached = f"{many:.0f}" if math.isfinite(many) else f"not reached in {DESCENT_STEPS}"
    note = f"{few:.0f} steps at spread {EVEN:g}, {reached} at {UNEVEN:g}; each the best of {len(DESCENT_RATES)} rates"
    return Verdict(growth, 100.0, "x", state, note)  # type: ignore[arg-type]


def clipped(results: Sequence[Result]) -> Verdict:
    error = fmean(result.summary["error"] for result in results)
    return Verdict(error, None, "", "measured", f"after {WELL_STEPS} steps at spread {UNEVEN:g}, rate 0.01")


def newton_growth(results: Sequence[Result]) -> Verdict:
    found = mean_steps(results)
    few, many = (steps for _, steps in sorted(found.items()))
    return Verdict(many / few, None, "x", "measured", f"{few:.1f} steps at spread {EVEN:g}, {many:.1f} at {UNEVEN:g}")


def errors_left(results: Sequence[Result]) -> Verdict:
    """The smallest mean error over the rates that Sophia gets too."""
    found = means(results, lambda result: (result.spec.method["id"], result.spec.method["lr"]), "error")
    best = {method: min(found[method, rate] for rate in WELL_RATES) for method in ("adamw", "sign-sgd")}
    note = f"after {WELL_STEPS} steps at spread {UNEVEN:g}, best of {len(WELL_RATES)} rates: " + ", ".join(
        f"{method} {error:.2g}" for method, error in best.items())
    return Verdict(best["adamw"], None, "", "measured", note)


# -- (b) characters


def losses(results: Sequence[Result]) -> dict[Label, float]:
    return means(results, lambda result: (result.spec.method["id"], result.spec.method["lr"]), "val/loss")


def share_of_steps(results: Sequence[Result]) -> Verdict:
    """Seed by seed: the first evaluation (one every 20 steps) at which Sophia is as good as AdamW at its end."""
    final = {result.spec.seed: result.summary["val/loss"] for result in results if result.spec.method["id"] == "adamw"}
    shares = []
    for result in results:
        if result.spec.method["id"] == "sophia":
            steps, values = result.series["val/loss"]
            shares.append(next((float(step) / STEPS for step, value in zip(steps, values, strict=True)
                                if value <= final[result.spec.seed]), math.inf))
    share, found = fmean(shares), losses(results)
    state = "holds" if share <= 0.75 else "direction only" if share < 1 else "does not hold"
    won = fmean(fmean(result.series["win_rate"][1]) for result in results if result.spec.method["id"] == "sophia")
    note = (f"final losses {found['sophia', RATE]:.3f} against {found['adamw', RATE]:.3f}; shares by seed "
            + ", ".join(f"{one:.2f}" for one in shares) + f"; {won:.2f} of the coordinates not clipped")
    return Verdict(share, 0.75, "of AdamW's steps", state, note)  # type: ignore[arg-type]


def best_rates(results: Sequence[Result]) -> Verdict:
    """How far Sophia at its best rate is behind AdamW at its own, on one grid."""
    found = losses(results)
    best = {method: min(CHAR_RATES, key=lambda rate: found[method, rate]) for method in ("sophia", "adamw")}
    behind = found["sophia", best["sophia"]] - found["adamw", best["adamw"]]
    note = "; ".join(f"{method} " + ", ".join(f"{rate:g}: {found[method, rate]:.3f}" for rate in CHAR_RATES)
                     for method in best)
    return Verdict(behind, None, "nats/character", "loses here" if behind > 0 else "measured", note)


def lowest(results: Sequence[Result]) -> Verdict:
    found = losses(results)
    note = ", ".join(f"rate {rate:g}: {loss:.3f}" for (_, rate), loss in found.items())
    return Verdict(min(found.values()), None, "nats/character", "measured", note)


AT_ONE_RATE = [*characters(SOPHIA, [RATE]), *characters(ADAMW, [RATE])]

claim = Claim(
    system="sophia",
    statement="On curvature (10 coordinates, 3 seeds, rate picked from 3 at the even spread) Sophia with Hutchinson's "
              "estimate needs at most 3 times the steps to an error of 1e-6 when the spread of curvatures grows from "
              "10 to 1e6, gradient descent with the best of 3 rates at each spread at least 100 times. On charlm "
              "(quick, 500 steps, 3 seeds, one schedule for all) Sophia-G reaches the final validation loss of AdamW "
              "at the same rate, 1e-3, in at most 0.75 of the steps, with gradients clipped to norm 1 as published. "
              "That rate is too small for AdamW here: each method at its own best rate stands beside, and so does "
              "Sophia without the clipping, which it needs (AdamW does not: clipped by hand in the same way, seed 0 "
              "ended at 2.394 instead of 2.398). On the wells it is off: there it would undo the effect.",
    headline="half of AdamW's steps on GPT-2 from 125M to 770M parameters; a bound on the run time that is free of the "
             "condition number",
    parts=[
        Part("Sophia, quartic wells: growth of steps from spread 1e1 to 1e6", sophia_on("quartic"), sophia_growth),
        Part("Sophia, cosine wells: growth of steps from spread 1e1 to 1e6", sophia_on("cosine"), sophia_growth),
        Part("Sophia with the gradient's norm clipped to 1, quartic wells: error left",
             wells({"id": "sophia", "lr": 0.01, "grad_clip": 1.0, **PLAIN}, UNEVEN), clipped),
        Part("gradient descent, quartic wells: growth of steps from spread 1e1 to 1e6",
             [*descent(EVEN, WELL_STEPS), *descent(UNEVEN, DESCENT_STEPS)], descent_growth),
        Part("Newton with line search, quartic wells: growth of steps",
             [spec for spread in (EVEN, UNEVEN) for spec in wells({"id": "newton", "lr": 1.0}, spread, steps=50)],
             newton_growth),
        Part("AdamW and SignSGD, quartic wells: error left",
             [spec for method in ("adamw", "sign-sgd") for rate in WELL_RATES
              for spec in wells({"id": method, "lr": rate, **PLAIN}, UNEVEN)], errors_left),
        Part("charlm, both at rate 1e-3: share of AdamW's steps to its final loss", AT_ONE_RATE, share_of_steps),
        Part("charlm, each at its best rate: Sophia's loss above AdamW's",
             [*characters(SOPHIA, CHAR_RATES), *characters(ADAMW, CHAR_RATES)], best_rates),
        Part("charlm, Sophia without clipping the gradient's norm", characters(SOPHIA | {"grad_clip": 0.0}, [RATE]),
             lowest),
        Part("charlm, Lion", characters({"id": "lion"}, LION_RATES), lowest),
    ],
    seconds=180.0,
)
