"""Block rules on least squares with uneven columns, messages on trees, and the support of an L1 problem."""

import itertools
import math
from collections.abc import Callable, Sequence
from statistics import fmean

import numpy as np

from engines.core import Budget, Claim, Part, Result, RunSpec, Verdict

SEEDS = (0, 1, 2)  # of the instance too
STEPS, TAU = 500, 5
PARTITIONS = ("order", "random", "average", "sort")
RULES = ("cyclic", "random", "lipschitz", "gs", "gsl", "gsd", "gsq")
LABELLED = 0.05
TREES = (1_000, 10_000, 100_000)  # unknowns
DENSE = 4_000
SOLVES = 5  # of one system, of which the median time counts
SUPPORT_GAP = 1e-6

Method = tuple[str, str]  # blocks and rule


def bcd(problem: dict[str, object], steps: int, seed: int = 0, **method: object) -> RunSpec:
    return RunSpec(engine="optimizers", problem=problem, method={"id": "bcd", **method}, seed=seed,
                   budget=Budget(steps=steps))


# -- rules


def rules(*methods: Method) -> list[RunSpec]:
    """Equal steps, blocks and instances for all; the update is exact."""
    problem = {"id": "lsq-sparse", "size": "standard"}
    return [bcd(problem, STEPS, seed, blocks=blocks, rule=rule, tau=TAU, update="exact")
            for blocks, rule in methods for seed in SEEDS]


def gaps(results: Sequence[Result]) -> dict[Method, float]:
    """Geometric means over the instances."""
    found: dict[Method, list[float]] = {}
    for result in results:
        key = (result.spec.method["blocks"], result.spec.method["rule"])
        found.setdefault(key, []).append(math.log(result.summary["gap"]))
    return {key: math.exp(fmean(values)) for key, values in found.items()}


BEST: Method = ("variable", "gsl")


def ratio(others: Sequence[Method], threshold: float) -> Callable[[Sequence[Result]], Verdict]:
    """Of the gap of variable blocks by GSL to the smallest gap among `others`."""

    def verdict(results: Sequence[Result]) -> Verdict:
        found = gaps(results)
        rival = min(others, key=lambda method: found[method])
        share = found[BEST] / found[rival]
        state = "holds" if share <= threshold else "direction only" if share < 1 else "does not hold"
        note = f"variable gsl {found[BEST]:.2e}; best rival, {' '.join(rival)}: {found[rival]:.2e}"
        return Verdict(share, threshold, "ratio of gaps", state, note)  # type: ignore[arg-type]

    return verdict


def rule_part(name: str, others: Sequence[Method], threshold: float) -> Part:
    return Part(name, rules(BEST, *others), ratio(others, threshold))


# -- messages on trees


def tree(unknowns: int, solver: str = "messages", seed: int = 0) -> RunSpec:
    """The whole tree is one block, solved `SOLVES` times."""
    problem = {"id": "label-propagation", "graph": "tree", "labelled": LABELLED,
               "nodes": round(unknowns / (1 - LABELLED))}
    return bcd(problem, SOLVES, seed, blocks="forest", solver=solver)


def first(name: str, result: Result) -> float:
    """The value of a series after the first step."""
    steps, values = result.series[name]
    return float(values[list(steps).index(1)])


def exact(results: Sequence[Result]) -> Verdict:
    worst = max(first("distance", result) for result in results)
    state = "holds" if worst <= 1e-10 else "does not hold"
    return Verdict(worst, 1e-10, "largest difference", state,  # type: ignore[arg-type]
                   "after one step, from a dense Cholesky solution, as a share of its largest entry")


def slope(results: Sequence[Result]) -> Verdict:
    seconds = [result.summary["solve/seconds"] for result in results]
    found = float(np.polyfit(np.log(TREES), np.log(seconds), 1)[0])
    note = ", ".join(f"{size:,}: {took * 1e3:.1f} ms" for size, took in zip(TREES, seconds, strict=True))
    state = "holds" if found <= 1.2 else "does not hold"
    return Verdict(found, 1.2, "log seconds by log unknowns", state, note)  # type: ignore[arg-type]


def speedup(results: Sequence[Result]) -> Verdict:
    ours, dense = (result.summary["solve/seconds"] for result in results)
    state = "holds" if dense / ours >= 5 else "direction only" if dense > ours else "does not hold"
    return Verdict(dense / ours, 5, "times", state,  # type: ignore[arg-type]
                   f"messages {ours * 1e3:.1f} ms, dense Cholesky {dense * 1e3:.0f} ms")


def superlu(results: Sequence[Result]) -> Verdict:
    ours, other = (result.summary["solve/seconds"] for result in results)
    return Verdict(other / ours, None, "times", "measured",
                   f"messages {ours * 1e3:.1f} ms, SuperLU {other * 1e3:.1f} ms: it finds no fill on a tree, so "
                   "that its time grows as slowly, and its code is compiled")


# -- the support


def support(results: Sequence[Result]) -> Verdict:
    """Steps between the last change of the support and the first gap within 1e-6, the smallest over the methods."""
    told, spare = [], []
    for result in results:
        steps, values = result.series["gap"]
        reached = [step for step, value in zip(steps, values, strict=True) if value <= SUPPORT_GAP]
        fixed, when = result.summary["support/fixed"], float(reached[0]) if reached else math.inf
        told.append(f"tau {result.spec.method['tau']}, {result.spec.method['l1_step']}: fixed at step {fixed:.0f}, "
                    f"1e-6 at {when:.0f}, {result.summary['support/errors']:.0f} wrong in the end")
        spare.append(when - fixed if reached else -math.inf)
    state = "holds" if min(spare) >= 0 else "does not hold"
    worst = min(spare) if math.isfinite(min(spare)) else -float(STEPS)
    return Verdict(worst, 0, "steps to spare", state, "; ".join(told))  # type: ignore[arg-type]


def sparse_runs() -> list[RunSpec]:
    """Greedy rules draw nothing and the rows are given: there is one run of each, whatever the seed."""
    return [bcd({"id": "l1-logreg-a9a"}, 400, tau=tau, l1_step=step)
            for tau, step in itertools.product((TAU, 20), ("proximal", "two-metric"))]


# -- beside full gradients


def against_lbfgs(results: Sequence[Result]) -> Verdict:
    """Gaps at equal numbers of entries of A read."""
    ours, other = (result.summary["gap"] for result in results)
    return Verdict(ours / max(other, 1e-16), None, "ratio of gaps", "measured",
                   f"after the work of 100 gradients: bcd {ours:.1e}, L-BFGS-B {other:.1e}")


def full_gradients() -> list[RunSpec]:
    return [RunSpec(engine="optimizers", problem={"id": "logreg-a9a"}, method=method, budget=Budget(grad_evals=100))
            for method in ({"id": "bcd", "tau": 20}, {"id": "lbfgs-b"})]


FIXED = list(itertools.product(PARTITIONS, RULES))

claim = Claim(
    system="bcd",
    statement=f"On lsq-sparse (n = 1,000, blocks of {TAU}, exact updates, {STEPS} steps, geometric means over "
              f"{len(SEEDS)} instances) variable blocks by GSL leave at most 0.7 of the gap of variable blocks by GS, "
              "0.25 of the best of 28 pairs of fixed partition and rule, and 0.05 of the best partition with random "
              "selection. On trees the message-passing step equals a dense solve to 1e-10, its time grows with slope "
              "at most 1.2 between 1,000 and 100,000 unknowns, and at 4,000 it is 5 times as fast as dense Cholesky "
              "(SuperLU, which finds no fill on a tree, stands beside). On l1-logreg-a9a the support is fixed before "
              "the gap reaches 1e-6: so it was with two-metric steps (blocks of 5: step 61, gap at 118; of 20: at 26, "
              "gap at 26), and not with proximal ones (185 and 153; 71 and 70). Slope and speed-ups measure time.",
    headline="new block rules make more progress per iteration than Gauss-Southwell, by orders of magnitude with "
             "larger variable blocks; message passing solves blocks that are larger by far",
    parts=[
        rule_part("GSL against GS, variable blocks", [("variable", "gs")], 0.7),
        rule_part("variable GSL against the best fixed blocks", FIXED, 0.25),
        rule_part("variable GSL against random selection",
                  [pair for pair in FIXED if pair[1] == "random"], 0.05),
        Part("message passing equals a dense solve", [tree(size, seed=seed) for size in (TREES[0], DENSE)
                                                      for seed in SEEDS], exact),
        Part("time of message passing by unknowns", [tree(size) for size in TREES], slope),
        Part(f"message passing against dense Cholesky, {DENSE:,} unknowns", [tree(DENSE), tree(DENSE, "dense")],
             speedup),
        Part(f"message passing against SuperLU, {DENSE:,} unknowns", [tree(DENSE), tree(DENSE, "superlu")], superlu),
        Part("support fixed before a gap of 1e-6", sparse_runs(), support),
        Part("against L-BFGS-B at equal work on logreg-a9a", full_gradients(), against_lbfgs),
    ],
    seconds=180.0,
)
