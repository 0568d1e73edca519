"""M-FAC: its two algorithms against the identity, their time against the dimension, pruning, and training."""

import itertools
import math
from collections.abc import Iterator, Sequence
from statistics import fmean
from typing import Any

from engines.core import Budget, Claim, Part, Result, RunSpec, Verdict

from ..tuning import means

SEEDS = (0, 1, 2)
WINDOW = 64
DIMENSIONS = {10_000: 20, 100_000: 12, 1_000_000: 6}  # and how many products are timed
WIDTHS = (16, 64, 256)
SPARSITY, LEVELS = 0.8, 8
EPOCHS, TRAIN = 10, 1437
GRIDS: dict[str, dict[str, tuple[float, ...]]] = {
    "mfac": {"lr": (3e-4, 1e-3, 3e-3), "damping": (1e-5, 1e-4, 1e-3)},
    "sgd": {"lr": (0.03, 0.1, 0.3), "momentum": (0.8, 0.9, 0.95)},
    "adamw": {"lr": (3e-3, 1e-2, 3e-2), "beta2": (0.95, 0.99, 0.999)},
}
RECIPE = {"schedule": "cosine", "warmup": 0.02}

# -- (a), (b): products


def products(method: str, steps: int, seed: int = 0, **problem: Any) -> RunSpec:
    return RunSpec(engine="optimizers", problem={"id": "inverse-fisher", "gradients": WINDOW, **problem},
                   method={"id": method}, seed=seed, budget=Budget(steps=steps))


def exact(method: str) -> list[RunSpec]:
    """Long enough for the window to be replaced twice over."""
    return [products(method, 2 * WINDOW + 20, seed, dimension=2_000, damping=1e-5) for seed in SEEDS]


def agreement(results: Sequence[Result]) -> Verdict:
    worst = {method: max(result.summary["error"] for result in results if result.spec.method["id"] == method)
             for method in ("mfac-static", "mfac-dynamic")}
    note = "; ".join(f"{method} {error:.1e}" for method, error in worst.items())
    error = max(worst.values())
    return Verdict(error, 1e-6, "relative error", "holds" if error <= 1e-6 else "does not hold", note)


def timed(method: str, dimension: int, **problem: Any) -> RunSpec:
    """A window that stands still: products alone are timed."""
    return products(method, DIMENSIONS[dimension], dimension=dimension, sliding=False, **problem)


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Of the least-squares line through the points, both axes logarithmic."""
    x, y = ([math.log(point[axis]) for point in points] for axis in (0, 1))
    return sum((a - fmean(x)) * (b - fmean(y)) for a, b in zip(x, y, strict=True)) / sum((a - fmean(x)) ** 2 for a in x)


def times(results: Sequence[Result], method: str, axis: str) -> list[tuple[float, float]]:
    """(`axis` of the problem, median seconds a product)."""
    return [(result.spec.problem[axis], result.cost["product_seconds"]) for result in results
            if result.spec.method["id"] == method]


def milliseconds(points: Sequence[tuple[float, float]]) -> str:
    return ", ".join(f"{seconds * 1e3:.3g} ms at {at:g}" for at, seconds in points)


def linear(results: Sequence[Result]) -> Verdict:
    """The slope of the algorithm that is further from 1."""
    found = {method: times(results, method, "dimension") for method in ("mfac-static", "mfac-dynamic")}
    slopes = {method: slope(points) for method, points in found.items()}
    off = max(abs(value - 1) for value in slopes.values())
    note = "; ".join(f"{method} slope {slopes[method]:.2f} ({milliseconds(found[method])})" for method in found)
    return Verdict(off, 0.2, "distance of the slope from 1", "holds" if off <= 0.2 else "does not hold", note)


def against_width(results: Sequence[Result]) -> Verdict:
    points = times(results, "mfac-dynamic", "gradients")
    return Verdict(slope(points), None, "slope", "measured", milliseconds(points))


def against_conjugate(results: Sequence[Result]) -> Verdict:
    ours, theirs = (times(results, method, "dimension")[0][1] for method in ("mfac-dynamic", "conjugate-gradient"))
    errors = [next(result.summary["error"] for result in results if result.spec.method["id"] == method)
              for method in ("mfac-dynamic", "conjugate-gradient")]
    note = (f"{theirs * 1e3:.3g} ms (relative error {errors[1]:.0e}) against {ours * 1e3:.3g} ms ({errors[0]:.0e}); "
            "conjugate gradients need no factorisation and no copy of the window")
    return Verdict(theirs / ours, None, "x", "measured", note)


# -- (c): pruning


def pruned(*methods: str) -> list[RunSpec]:
    return [RunSpec(engine="optimizers", problem={"id": "prune-digits", "sparsity": SPARSITY}, method={"id": method},
                    seed=seed, budget=Budget(steps=LEVELS)) for method in methods for seed in SEEDS]


def accuracies(results: Sequence[Result], method: str) -> list[float]:
    """Mean over seeds at each sparsity, evenly spaced from 0 to the one asked for."""
    curves = [result.series["test/accuracy"][1] for result in results if result.spec.method["id"] == method]
    return [fmean(float(value) for value in values) for values in zip(*curves, strict=True)]


def by_sparsity(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.3f} at {SPARSITY * at / LEVELS:.0%}" for at, value in enumerate(values) if at % 2 == 0)


def compensation(results: Sequence[Result]) -> Verdict:
    ours, theirs = (accuracies(results, method) for method in ("mfac-prune", "magnitude-prune"))
    ahead = ours[-1] - theirs[-1]
    state = "holds" if ahead >= 0.01 else "direction only" if ahead > 0 else "does not hold"
    note = f"M-FAC {by_sparsity(ours)}; magnitude {by_sparsity(theirs)}"
    return Verdict(ahead, 0.01, "accuracy", state, note)  # type: ignore[arg-type]


def diagonal(results: Sequence[Result]) -> Verdict:
    found = accuracies(results, "diagonal-fisher-prune")
    return Verdict(found[-1], None, "accuracy", "measured", by_sparsity(found))


# -- (d): training


def settings(method: str) -> Iterator[dict[str, float]]:
    grid = GRIDS[method]
    return (dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values()))


def trained(*methods: str) -> list[RunSpec]:
    return [RunSpec(engine="optimizers", problem={"id": "mlp-digits"}, method={"id": method, **setting, **RECIPE},
                    seed=seed, budget=Budget(samples=EPOCHS * TRAIN))
            for method in methods for setting in settings(method) for seed in SEEDS]


def best(results: Sequence[Result], method: str, **only: float) -> tuple[float, str]:
    """The smallest mean training loss over a method's grid (or the part of it where `only` holds), and where."""
    names = list(GRIDS[method])
    own = [result for result in results if result.spec.method["id"] == method
           and all(result.spec.method[name] == value for name, value in only.items())]
    found = means(own, lambda result: tuple(result.spec.method[name] for name in names), "train/loss")
    place = min(found, key=lambda key: found[key])
    return found[place], ", ".join(f"{name} {value:g}" for name, value in zip(names, place, strict=True))


def seconds(results: Sequence[Result], method: str) -> float:
    return fmean(result.cost["seconds"] for result in results if result.spec.method["id"] == method)


def training(results: Sequence[Result]) -> Verdict:
    (ours, at), (theirs, there) = best(results, "mfac"), best(results, "sgd")
    state = "holds" if ours <= theirs else "does not hold"
    each = ", ".join(f"{best(results, 'mfac', damping=value)[0]:.4f} at {value:g}"
                     for value in GRIDS["mfac"]["damping"])
    longer = seconds(results, "mfac") / seconds(results, "sgd")
    note = (f"M-FAC {ours:.4f} ({at}); SGD {theirs:.4f} ({there}); M-FAC's best by damping: {each}; "
            f"its runs took {longer:.1f} times as long")
    return Verdict(ours / theirs, 1.0, "x", state, note)  # type: ignore[arg-type]


def adam(results: Sequence[Result]) -> Verdict:
    loss, at = best(results, "adamw")
    return Verdict(loss, None, "nats", "measured", at)


claim = Claim(
    system="mfac",
    statement=f"Static and dynamic products (d = 2,000, m = {WINDOW}, λ = 1e-5, float64, after the window has been "
              "replaced twice, vectors in and out of its span, 3 seeds) are within 1e-6 of the Woodbury identity; that "
              "the identity is the dense inverse is shown by the unit tests, since no d x d matrix is made elsewhere. "
              "The time of a product grows linearly with d from 1e4 to 1e6. Pruning a trained perceptron to "
              f"{SPARSITY:.0%} in one shot with compensation is at least 0.01 more accurate than by magnitude (3 "
              f"seeds). After {EPOCHS} epochs of mlp-digits at batch 64 the training loss is at most that of SGD, each "
              "at the best of nine settings (M-FAC: rate and λ, SGD: rate and momentum; AdamW beside: rate and β2), "
              "equal steps, mean of 3 seeds, windows of 128. The paper's λ is 1e-5 to 1e-4, with windows of 512 to "
              "1,024; a trial on one seed lost to SGD with those and windows of 128 (0.034 against 0.020), so 1e-3 was "
              "put into M-FAC's grid, and SGD's grew to as many settings. The statement rests on that: with three "
              "seeds M-FAC gave 0.0054 at 1e-3, but 0.028 at 1e-4 and 0.051 at 1e-5, against 0.0133 for SGD. The "
              "part's note gives these figures for every run. In seconds M-FAC loses here: each of its steps costs "
              "several of SGD's.",
    headline="ResNet-20 on CIFAR-10 at 92.34 % against 91.78 % for SGD, and the best one-shot pruning of ResNet-50 and "
             "BERT at its time",
    own=["mfac", "mfac-static", "mfac-dynamic", "mfac-prune"],
    parts=[
        Part("error of static and dynamic products", [*exact("mfac-static"), *exact("mfac-dynamic")], agreement),
        Part("time of a product against d, 1e4 to 1e6",
             [timed(method, d) for method in ("mfac-static", "mfac-dynamic") for d in DIMENSIONS], linear),
        Part("time of a product against m, 16 to 256 at d = 1e5",
             [timed("mfac-dynamic", 100_000, gradients=m) for m in WIDTHS], against_width),
        Part("time of conjugate gradients over that of M-FAC's product at d = 1e5",
             [timed(method, 100_000) for method in ("mfac-dynamic", "conjugate-gradient")], against_conjugate),
        Part(f"accuracy above magnitude pruning at {SPARSITY:.0%}", pruned("mfac-prune", "magnitude-prune"),
             compensation),
        Part(f"accuracy of diagonal Fisher pruning at {SPARSITY:.0%}", pruned("diagonal-fisher-prune"), diagonal),
        Part("training loss over SGD's at equal steps", trained("mfac", "sgd"), training),
        Part("training loss of AdamW at equal steps", trained("adamw"), adam),
    ],
    seconds=180.0,
)
